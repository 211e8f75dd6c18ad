"""Learned perturbations: a U-Net that changes images so that a classifier recognizes them better.

After the slides "Learning Perturbations to Improve Classification Accuracy": the U-Net learns to copy images, a
classifier learns on the originals, and the U-Net is then trained through the same, frozen classifier. The gain is
measured against continued training of the classifier, and against both trained together from scratch.
"""
