"""The networks, and ``BigLearnGAN``: a generator and a discriminator that draw, score and save."""
