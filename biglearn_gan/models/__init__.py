"""The networks, and ``BigLearnGAN``: a trained generator and discriminator, loaded, sampled and
saved.
"""
