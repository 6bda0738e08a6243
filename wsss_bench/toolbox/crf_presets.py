"""Parameters of the dense CRF as papers and releases set them; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class CrfParams:
    """Constants of one CRF: two Gaussian kernels with Potts compatibility, diagonal, symmetrically normalised."""

    iterations: int
    """Mean-field steps; 0 gives the softmax of the negative energies."""
    gauss_sxy: float
    """Standard deviation of the smoothness kernel in pixels."""
    gauss_compat: float
    """Weight of the smoothness kernel."""
    bilateral_sxy: float
    """Spatial standard deviation of the appearance kernel in pixels."""
    bilateral_srgb: float
    """Colour standard deviation of the appearance kernel, on the 0..255 scale."""
    bilateral_compat: float
    """Weight of the appearance kernel."""

    def scaled(self, factor: float) -> CrfParams:
        """Return the same CRF for an image shrunk by `factor`: both spatial deviations divided by it.

        SEC and DSRG train with a factor of 12, whatever their grid's true ratio to the image is.
        """
        # Colours do not shrink with the image, so their deviation stays.
        return replace(
            self,
            gauss_sxy=self.gauss_sxy / factor,
            bilateral_sxy=self.bilateral_sxy / factor,
        )


PRESETS: dict[str, CrfParams] = {
    "dsrg": CrfParams(10, 3, 3, 80, 13, 10),
    "psa": CrfParams(10, 3, 3, 80, 13, 10),
    "irn": CrfParams(10, 3, 3, 50, 5, 10),
    "deeplab": CrfParams(10, 1, 3, 67, 3, 4),
    "vwe2": CrfParams(10, 1, 3, 64, 3, 4),
}
"""Published constants by the name of who uses them.

dsrg (also SEC), psa (also SC-CAM, SEAM), irn, deeplab (also CLIP-ES), vwe2 (VWL).
"""
