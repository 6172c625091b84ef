"""A U-Net, odd convolutions and pools, a real-valued branch, two inputs and two outputs."""

import torch
from torch import nn

from spikedriven.neurons import LIF
from tests.foreign.residual import FoldedLIF, conv_bn

STEPS = 2


def block(inputs: int, outputs: int) -> nn.Sequential:
    """On [T * B, C, H, W]."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), FoldedLIF(STEPS)
    )


class UNet(nn.Module):
    """[B, 3, H, W] -> [B, 4, H, W], upsampled in three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.down3 = block(3, 8), block(8, 12), block(12, 16)
        self.bottom, self.pool = block(16, 16), nn.MaxPool2d(2)
        self.nearest = nn.Upsample(scale_factor=2, mode="nearest")
        self.bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.up3, self.up2 = block(16 + 16, 12), block(12 + 12, 8)
        self.transposed = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.norm, self.fire = nn.BatchNorm2d(8), FoldedLIF(STEPS)
        self.up1, self.classify = block(8 + 8, 8), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        one = self.down1(x.repeat(STEPS, 1, 1, 1))
        two = self.down2(self.pool(one))
        three = self.down3(self.pool(two))
        y = self.bottom(self.pool(three))
        y = self.up3(torch.cat([self.nearest(y), three], 1))
        y = self.up2(torch.cat([two, self.bilinear(y)], dim=1))
        y = self.up1(torch.cat([one, self.fire(self.norm(self.transposed(y)))], 1))
        return self.classify(y).reshape(STEPS, -1, 4, *x.shape[2:]).mean(0)


class OddConvolutions(nn.Module):
    """[B, 3, 16, 12] -> [B, 5]. Rectangular, dilated, grouped convolutions; all pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = (
            nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 2)),
            nn.BatchNorm2d(8),
        )
        self.dilated, self.norm1 = (
            nn.Conv2d(8, 12, 3, padding=2, dilation=2, bias=False),
            nn.BatchNorm2d(12),
        )
        self.grouped, self.norm2 = (
            nn.Conv2d(12, 12, (1, 3), padding="same", groups=3),
            nn.BatchNorm2d(12),
        )
        self.depthwise = nn.Conv2d(12, 12, (3, 1), groups=12, bias=False)
        self.pointwise, self.norm3 = nn.Conv2d(12, 16, 1), nn.BatchNorm2d(16)
        self.max_pool = nn.MaxPool2d((2, 3), stride=(2, 2), padding=(0, 1), ceil_mode=True)
        self.adaptive_max = nn.AdaptiveMaxPool2d((3, 2))
        self.avg_pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.fires = nn.ModuleList(FoldedLIF(STEPS) for _ in range(5))
        self.narrow, self.pool = nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d((2, 1))
        self.norm4, self.fc = nn.BatchNorm2d(16), nn.Linear(32, 5)

    def forward(self, x):
        x = self.fires[0](self.norm0(self.stem(x.repeat(STEPS, 1, 1, 1))))
        x = self.fires[1](self.norm1(self.dilated(x)))
        x = self.fires[2](self.norm2(self.grouped(self.max_pool(x))))
        x = self.fires[3](self.norm3(self.pointwise(self.depthwise(x))))
        x = self.fires[4](
            self.norm4(self.avg_pool(self.narrow(nn.functional.pad(x, (1, 1, 1, 1)))))
        )
        x = torch.cat(
            [self.pool(x).flatten(1)[:, :16], self.adaptive_max(x).flatten(1)[:, 5:21]], 1
        )
        return self.fc(x.view(STEPS, -1, 32)).sum(0) / STEPS


class RealBranch(nn.Module):
    """[B, 3, H, W] -> [B, 5]. A small real-valued branch with ReLU beside the spiking one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fire = conv_bn(3, 8), LIF(decay_input=False, v_reset=None)
        self.body, self.body_fire = conv_bn(8, 16, stride=2), LIF(tau=1.5)
        self.real1, self.real2 = (
            nn.Conv2d(3, 6, 3, stride=2, padding=1),
            nn.Conv2d(6, 16, 3, padding=1),
        )
        self.real_norm = nn.BatchNorm2d(6)
        self.merge, self.merge_fire, self.fc = conv_bn(16, 16), LIF(), nn.Linear(16 * 8 * 8, 5)

    def forward(self, x):
        real = self.real2(torch.relu(self.real_norm(self.real1(x))))
        spikes = self.fire(self.stem(torch.stack([x] * STEPS)))
        y = self.merge_fire(self.merge(self.body_fire(self.body(spikes) + real)))
        return self.fc(y.flatten(2)).mean(dim=0)


class TwoInputs(nn.Module):
    """Image [B, 3, H, W], event frames [B, T, 2, H, W] -> classes [B, 5], map [B, 2, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.image_fire = conv_bn(3, 8), LIF()
        self.events, self.events_fire = conv_bn(2, 8), LIF()
        self.both, self.both_fire = conv_bn(16, 8), LIF()
        self.fc, self.map = nn.Linear(8, 5), nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, image, events):
        frames = events.transpose(0, 1)
        one = self.image_fire(self.image(image[None].expand(len(frames), *image.shape)))
        two = self.events_fire(self.events(frames))
        both = self.both_fire(self.both(torch.cat([one, two], 2)))
        logits = self.fc(both.amax((-2, -1))).mean(0)
        return logits, self.map(both.sum(0))
