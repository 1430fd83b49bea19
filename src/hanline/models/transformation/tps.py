import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanline.errors import HanlineError
from hanline.models.stage import Stage


class TPS(Stage):
    """Rectify the text with a thin-plate spline.

    A small network looks at the image and places fiducial points along the upper and lower edge of
    the text; the spline that moves them to the upper and lower edge of the image moves all the
    pixels with them. From Shi et al., "Robust Scene Text Recognition with Automatic Rectification"
    (RARE), CVPR 2016, after Jaderberg et al., "Spatial Transformer Networks", NIPS 2015.

    Args:
        in_channels: channels of the images.
        image_height, image_width: their size in pixels, which the spline is computed for.
        num_fiducial: fiducial points, half of them on either edge.

    Raises:
        HanlineError: an odd number of fiducial points, or fewer than four.
    """

    any_width = False

    def __init__(
        self, in_channels: int, image_height: int, image_width: int | None, num_fiducial: int
    ) -> None:
        super().__init__()
        if image_width is None:
            raise HanlineError(
                "image.width=null: expected a number, since TPS rectifies images of one size only. "
                "Set image.width, or model/transformation=none"
            )
        if num_fiducial % 2 or num_fiducial < 4:
            raise HanlineError(
                f"model.transformation.num_fiducial={num_fiducial}: expected an even number of at "
                "least 4, half of the points for either edge"
            )
        self.out_channels = in_channels
        self.image_size = (image_height, image_width)
        self.coefficients: Tensor
        self.basis: Tensor
        self.localization = Localization(in_channels, num_fiducial)
        # They follow from the sizes alone, so a checkpoint does not hold them.
        coefficients, basis = spline(image_height, image_width, num_fiducial)
        self.register_buffer("coefficients", coefficients, persistent=False)
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != self.image_size:
            raise HanlineError(
                f"TPS: expected images of {self.image_size[0]}×{self.image_size[1]} pixels, got "
                f"{images.shape[-2]}×{images.shape[-1]}"
            )
        grid = self._grid(images)
        with torch.autocast(images.device.type, enabled=False):
            images = images.to(grid.dtype)
            return F.grid_sample(images, grid, padding_mode="border", align_corners=True)

    def source_columns(self, images: Tensor) -> Tensor:
        """Return where the middle row of the output comes from; see :class:`Stage`."""
        middle = self._grid(images)[:, self.image_size[0] // 2, :, 0]
        return ((middle + 1) / 2).clamp(0, 1)

    def _grid(self, images: Tensor) -> Tensor:
        """Return where each pixel of the output comes from, (B, H, W, 2) in [−1, 1]."""
        points = self.localization(images)
        # Half precision would place pixels no nearer than a third of a pixel on a wide line.
        with torch.autocast(images.device.type, enabled=False):
            # Two products, as in DTRB: one of the two matrices' product would round differently.
            grid = self.basis @ (self.coefficients @ points.to(self.basis.dtype))
            return grid.view(-1, *self.image_size, 2)


class Localization(nn.Module):
    """Map images (B, C, H, W) to fiducial points (B, num_fiducial, 2), x and y in [−1, 1]."""

    def __init__(self, in_channels: int, num_fiducial: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (64, 128, 256, 512):
            layers += [
                nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2) if width < 512 else nn.AdaptiveAvgPool2d(1),
            ]
            in_channels = width
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(512, 256)
        self.points = nn.Linear(256, 2 * num_fiducial)

    def reset_parameters(self) -> None:
        """Place the points with a slight lean inwards, as in figure 6 (a) of the paper."""
        half = self.points.out_features // 4
        x = torch.linspace(-1, 1, half)
        top = torch.stack([x, torch.linspace(0, -1, half)], dim=1)
        bottom = torch.stack([x, torch.linspace(1, 0, half)], dim=1)
        nn.init.zeros_(self.points.weight)
        with torch.no_grad():
            self.points.bias.copy_(torch.cat([top, bottom]).flatten())

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images).flatten(1)
        points: Tensor = self.points(F.relu(self.hidden(features)))
        return points.view(len(images), -1, 2)


def spline(height: int, width: int, num_fiducial: int) -> tuple[Tensor, Tensor]:
    """Compute the parts of a thin-plate spline that do not depend on the image.

    Returns:
        ``coefficients`` (num_fiducial + 3, num_fiducial): their product with the fiducial points
        (num_fiducial, 2) is the spline. ``basis`` (height · width, num_fiducial + 3): its product
        with the spline is the place in the source image, x and y in [−1, 1], of each pixel of the
        rectified image.
    """
    x = torch.linspace(-1, 1, num_fiducial // 2, dtype=torch.float64)
    edge = torch.ones_like(x)
    control = torch.cat([torch.stack([x, -edge], 1), torch.stack([x, edge], 1)])

    distance = torch.cdist(control, control)
    kernel = distance.square() * torch.where(distance > 0, distance, 1.0).log()
    affine = torch.cat([torch.ones(num_fiducial, 1), control], dim=1)
    system = torch.zeros(num_fiducial + 3, num_fiducial + 3, dtype=torch.float64)
    system[:num_fiducial, :3] = affine
    system[:num_fiducial, 3:] = kernel
    system[num_fiducial:, 3:] = affine.T[[1, 2, 0]]

    pixel_x = (torch.arange(width, dtype=torch.float64) * 2 + 1) / width - 1
    pixel_y = (torch.arange(height, dtype=torch.float64) * 2 + 1) / height - 1
    grid_y, grid_x = torch.meshgrid(pixel_y, pixel_x, indexing="ij")
    pixels = torch.stack([grid_x.flatten(), grid_y.flatten()], dim=1)
    distance = torch.cdist(pixels, control)
    # 1e-6 as in DTRB, so that a pixel on a control point has a logarithm.
    kernel = distance.square() * (distance + 1e-6).log()
    basis = torch.cat([torch.ones(len(pixels), 1), pixels, kernel], dim=1)

    # The last three right-hand sides are zero: their columns of the inverse are never needed.
    return torch.linalg.inv(system)[:, :num_fiducial].float(), basis.float()
