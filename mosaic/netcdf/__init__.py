"""netCDF files: checked before the library reads them, and safe from interrupts."""
