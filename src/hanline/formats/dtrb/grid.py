"""The thin-plate spline of DTRB's TPS, which its files hold and Hanline computes."""

import numpy as np
import torch
from torch import Tensor


def grid(height: int, width: int, num_fiducial: int) -> tuple[Tensor, Tensor]:
    """Compute the two buffers of DTRB's TPS, which follow from the sizes.

    They are those of :func:`hanline.models.transformation.tps.spline`, with the columns that meet
    zeros, and by NumPy, as there: the last bit of a logarithm is not the same in torch.

    Returns:
        ``inv_delta_C`` (num_fiducial + 3, num_fiducial + 3), ``P_hat`` (height · width,
        num_fiducial + 3), float32.
    """
    x = np.linspace(-1.0, 1.0, num_fiducial // 2)
    control = np.concatenate([np.stack([x, y * np.ones_like(x)], axis=1) for y in (-1.0, 1.0)])
    distance = np.linalg.norm(control[:, None] - control[None], axis=2)
    np.fill_diagonal(distance, 1.0)
    system = np.zeros((num_fiducial + 3, num_fiducial + 3))
    system[:num_fiducial, 0] = 1.0
    system[:num_fiducial, 1:3] = control
    system[:num_fiducial, 3:] = distance**2 * np.log(distance)
    system[num_fiducial:, 3:] = system[:num_fiducial, [1, 2, 0]].T

    pixel_x = (np.arange(-width, width, 2) + 1.0) / width
    pixel_y = (np.arange(-height, height, 2) + 1.0) / height
    pixels = np.stack(np.meshgrid(pixel_x, pixel_y), axis=2).reshape(-1, 2)
    distance = np.linalg.norm(pixels[:, None] - control[None], axis=2)
    kernel = np.square(distance) * np.log(distance + 1e-6)
    basis = np.concatenate([np.ones((len(pixels), 1)), pixels, kernel], axis=1)
    return torch.from_numpy(np.linalg.inv(system)).float(), torch.from_numpy(basis).float()
