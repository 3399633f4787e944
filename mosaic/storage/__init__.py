"""What is written: the schema of files, stored runs, jobs that can be resumed, and what a result was made by."""
