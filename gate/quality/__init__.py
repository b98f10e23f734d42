"""Face image quality: every method behind `load_method`."""
