"""``python -m biglearn_gan``, the same as ``biglearn-gan``."""

from biglearn_gan.cli import main

if __name__ == "__main__":
    main()
