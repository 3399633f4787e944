"""What is shown of stored runs: the accessor, mosaics, pictures, and the report."""
