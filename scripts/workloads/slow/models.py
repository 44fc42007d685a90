"""Models of the slow programs: random weights from one seed, made on the GPU, no downloads."""

import functools
import math

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY = 32000


def on_gpu(make):
    """Makes a module's parameters where they are used: random numbers for them take the CPU many seconds."""

    @functools.wraps(make)
    def made(*args, **options):
        with torch.device("cuda"):
            make(*args, **options)

    return made


def fused_attention(query, key, value, causal=True):
    return F.scaled_dot_product_attention(query, key, value, is_causal=causal)


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and around a residual."""

    def __init__(self, width, heads, attention=fused_attention, activation=F.gelu, norm=nn.LayerNorm):
        super().__init__()
        self.heads = heads
        self.attention = attention
        self.activation = activation
        self.norm1 = norm(width)
        self.norm2 = norm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = self.attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(self.activation(self.up(self.norm2(x))))


class GPT(nn.Module):
    """A decoder-only transformer that returns its loss."""

    @on_gpu
    def __init__(self, layers, heads, width, tokens, vocabulary=VOCABULARY, **block):
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, **block) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        scores = self.head(self.norm(x))
        return F.cross_entropy(scores[:, :-1].reshape(-1, self.vocabulary), tokens[:, 1:].reshape(-1))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        return F.relu(x + self.body(x), inplace=True)


class ConvNet(nn.Module):
    """A residual network for pictures of 3 channels."""

    @on_gpu
    def __init__(self, channels, blocks, classes=1000):
        super().__init__()
        layers = [nn.Conv2d(3, channels, 7, stride=4, padding=3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        for stage in range(len(blocks)):
            if stage:
                layers.append(nn.Conv2d(channels, 2 * channels, 1, stride=2, bias=False))
                channels *= 2
            layers += [Residual(channels) for _ in range(blocks[stage])]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, pictures):
        return self.head(self.features(pictures).mean((2, 3)))


class MLP(nn.Sequential):
    @on_gpu
    def __init__(self, width, layers, classes=1000):
        parts = []
        for _ in range(layers):
            parts += [nn.Linear(width, width), nn.ReLU()]
        super().__init__(*parts, nn.Linear(width, classes))


class Recurrent(nn.Module):
    """A recurrent cell written by hand, one time after the other."""

    @on_gpu
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.input = nn.Linear(width, 3 * width)
        self.state = nn.Linear(width, 3 * width)

    def forward(self, x):
        state = x.new_zeros(x.shape[0], self.width)
        for time in range(x.shape[1]):
            update, reset, candidate = self.input(x[:, time]).chunk(3, -1)
            old_update, old_reset, old_candidate = self.state(state).chunk(3, -1)
            update = torch.sigmoid(update + old_update)
            reset = torch.sigmoid(reset + old_reset)
            candidate = torch.tanh(candidate + reset * old_candidate)
            state = update * state + (1 - update) * candidate
        return state


def tokens(batch, length, vocabulary=VOCABULARY):
    return torch.randint(0, vocabulary, (batch, length), device="cuda")


def trainer(model, rate=1e-4, **options):
    return torch.optim.AdamW(model.parameters(), lr=rate, **({"fused": True} | options))


def training(model, batch, optimizer):
    """A step of training in the precision that the weights have."""

    def step():
        loss = model(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step


def causal_mask(length):
    return torch.ones(length, length, dtype=torch.bool, device="cuda").triu(1)


def scale(width):
    return 1 / math.sqrt(width)
