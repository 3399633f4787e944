"""What attention does to the consistency of images whose parts must agree."""
