"""``python -m biglearn_gan``, the same as ``biglearn-gan``."""

from biglearn_gan.cli.app import main

if __name__ == "__main__":
    main()
