"""Deep audit: what a network trained on the images says about their labels."""
