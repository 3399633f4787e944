"""What a run is stored in, by the ending of its path: a netCDF file (.nc), or a Zarr store (.zarr), a folder."""
