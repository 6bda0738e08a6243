"""deeplab: the default segmentor."""
