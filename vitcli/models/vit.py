"""The Vision Transformer of the paper (section 3.1), with timm's parameter names.

    z_0 = [class; x_1 E; ...; x_N E] + E_pos                (Eq. 1)
    z'_l = MSA(LN(z_{l-1})) + z_{l-1}                       (Eq. 2)
    z_l = MLP(LN(z'_l)) + z'_l                              (Eq. 3)
    y = LN(z_L)[0]                                          (Eq. 4)

Initial weights and dropout are those of the official JAX code.

Shapes: B images, N tokens, D width, H heads, d = D/H, Z = B H, K classes, C x h x w a feature map,
p side of a patch, P = C p p, L layers with a table, O offsets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitcli.config import ModelConfig, PosEmbConfig, StemConfig, backbone_stride
from vitcli.models import pos_emb as positions


class PatchEmbed(nn.Module):
    """Makes tokens (B, N, D) of images (B, 3, H, W): patches of pixels, or of a ResNet's map.

    Source: paper, section 3.1.
    """

    def __init__(self, stem: StemConfig, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        self.backbone: nn.Module = nn.Identity()
        channels, self.patch_size = 3, patch_size
        if stem.layers:
            from vitcli.models.resnet import build_backbone  # with timm: seconds, so not above

            layers = stem.layers[str(patch_size)]
            backbone = build_backbone(layers, stem.width, stem.root, stem.groups)
            self.backbone, channels = backbone, backbone.num_features
            self.patch_size = patch_size // backbone_stride(stem, patch_size)
        self.proj = nn.Conv2d(channels, embed_dim, self.patch_size, stride=self.patch_size)
        _lecun_normal(self.proj)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the tokens (B, N, D), row after row."""
        x_BChw: Tensor = self.backbone(images)
        B, C, h, w = x_BChw.shape
        p = self.patch_size
        # A convolution with stride = kernel, as a matmul: 1.3 to 2.2 times as fast (CPU, bf16).
        x_BChpwp = x_BChw.view(B, C, h // p, p, w // p, p)
        x_BNP = x_BChpwp.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * p * p)
        return F.linear(x_BNP, self.proj.weight.flatten(1), self.proj.bias)


class Attention(nn.Module):
    """Multi-head self-attention (paper, App. A), with relative positions if given (D.4)."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        # Queries, keys and values are separate matrices in the official code: so are their bounds.
        for weight in (*self.qkv.weight.data.chunk(3), self.proj.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x_BND: Tensor, rel_keys_NNd: Tensor | None = None) -> Tensor:
        """Returns tokens (B, N, D); `rel_keys_NNd` are this layer's relative keys, scaled."""
        B, N, D = x_BND.shape
        qkv_3BHNd = self.qkv(x_BND).view(B, N, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        if not x_BND.is_cuda:
            qkv_3BHNd = qkv_3BHNd.contiguous()  # one copy here, or three in the matmuls
        q_BHNd, k_BHNd, v_BHNd = qkv_3BHNd.unbind(0)
        bias_BHNN = None
        if rel_keys_NNd is not None:
            bias_BHNN = positions.relative_logits(q_BHNd, rel_keys_NNd)
        # On a CPU the fused kernel, forward and backward, is no faster than `attend` in fp32 (17 to
        # 197 tokens), and 2.5 to 10 times as slow in bf16.
        attention = F.scaled_dot_product_attention if x_BND.is_cuda else attend
        y_BHNd = attention(q_BHNd, k_BHNd, v_BHNd, bias_BHNN)
        y_BND: Tensor = self.dropout(self.proj(y_BHNd.transpose(1, 2).reshape(B, N, D)))
        return y_BND


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns softmax(q k^T / sqrt(d) + bias) v, (B, H, N, d), in plain steps (paper, Eq. 6 and 7).

    Args:
        q, k, v: (B, H, N, d).
        bias: (B, H, N, N), or None.
    """
    q_ZNd, k_ZNd, v_ZNd = (x_BHNd.flatten(0, 1) for x_BHNd in (q, k, v))
    # The scale and the bias within the product: 2 to 5 % of a small model's step.
    bias_ZNN, beta = (q.new_zeros(1), 0) if bias is None else (bias.flatten(0, 1), 1)
    logits_ZNN = torch.baddbmm(
        bias_ZNN, q_ZNd, k_ZNd.transpose(1, 2), beta=beta, alpha=q.shape[-1] ** -0.5
    )
    return torch.bmm(logits_ZNN.softmax(-1), v_ZNd).view(v.shape)


def gelu_tanh(x: Tensor) -> Tensor:
    """Returns the GELU of Google's code, approximated by a tanh.

    Compiled, it is x times a sigmoid, the same function: forward and backward take half as long on
    a CPU as with tanh, and a step of a ViT Ti a sixth less.
    """
    if not torch.compiler.is_compiling():
        return F.gelu(x, approximate="tanh")
    y = x.float()
    return (y * torch.sigmoid(2 * (2 / torch.pi) ** 0.5 * y * (1 + 0.044715 * y * y))).to(x.dtype)


class Mlp(nn.Module):
    """Two dense layers, a GELU between them: tanh-approximated as in Google's code, or exact."""

    def __init__(self, dim: int, hidden_dim: int, gelu: str, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = gelu_tanh if gelu == "tanh" else F.gelu
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Returns tokens (B, N, D), each made of itself only."""
        y_BND: Tensor = self.dropout(self.fc2(self.dropout(self.act(self.fc1(x_BND)))))
        return y_BND


class Block(nn.Module):
    """One layer of the encoder: attention and MLP, each on normed tokens, each added to them."""

    def __init__(self, model: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(model.embed_dim, model.norm_eps)
        self.attn = Attention(model.embed_dim, model.num_heads, dropout)
        self.norm2 = nn.LayerNorm(model.embed_dim, model.norm_eps)
        self.mlp = Mlp(model.embed_dim, model.mlp_dim, model.gelu, dropout)

    def forward(self, x_BND: Tensor, rel_keys_NNd: Tensor | None = None) -> Tensor:
        """Returns the next layer's tokens (B, N, D) (Eq. 2 and 3)."""
        x_BND = x_BND + self.attn(self.norm1(x_BND), rel_keys_NNd)
        x_BND = x_BND + self.mlp(self.norm2(x_BND))
        return x_BND


class VisionTransformer(nn.Module):
    """Classifies images (B, 3, H, W) into logits (B, K).

    The head is zero at first, so every logit is. Dropout follows every dense layer but qkv and the
    head's, and the first sum with the position embedding. With `model.pool=gap` there is no class
    token: the representation is the mean of the normed patch tokens, as in the official code; with
    `model.fc_norm` it is the norm of their mean, as in timm.

    Args:
        img_size: height and width of the images, in pixels.
        num_classes: width of the logits; 0: no head, the representation is what comes out.
        dropout: share of values dropped in training, in [0, 1).
        recompute: keep of a block its input only, and compute it again in the backward pass.

    Source: paper, section 3.1, D.3 (pooling) and D.4 (position embedding).
    """

    # The tables; which of them there are depends on `pos_emb`.
    pos_embed: Tensor
    pos_embed_x: Tensor
    pos_embed_y: Tensor
    rel_pos_embed: Tensor
    rel_pos_cls: Tensor
    rel_pos_index: Tensor

    def __init__(
        self,
        model: ModelConfig,
        pos_emb: PosEmbConfig,
        stem: StemConfig,
        img_size: tuple[int, int],
        num_classes: int,
        dropout: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute, self.num_classes = recompute, num_classes
        dim, patch, has_class = model.embed_dim, model.patch_size, model.has_class_token
        self.embed_dim = dim
        self.pool = model.pool
        self.pos_emb = pos_emb
        self.grid_size = (img_size[0] // patch, img_size[1] // patch)
        self.num_prefix_tokens = int(has_class)

        self.patch_embed = PatchEmbed(stem, patch, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if has_class else None
        tables = positions.init_tables(
            pos_emb, self.grid_size, dim, dim // model.num_heads, model.depth, has_class
        )
        for name, table in tables.items():
            self.register_parameter(name, table)
        if pos_emb.kind == "sincos_2d":
            fixed_1ND = positions.sincos_2d(self.grid_size, dim, has_class)
            self.register_buffer("pos_embed", fixed_1ND, persistent=False)
        if pos_emb.kind == "relative":
            index_NN = positions.relative_index(self.grid_size, pos_emb.offsets, has_class)
            self.register_buffer("rel_pos_index", index_NN, persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(model, dropout) for _ in range(model.depth))
        norm = nn.LayerNorm(dim, model.norm_eps)
        self.norm = nn.Identity() if model.fc_norm else norm
        self.fc_norm = norm if model.fc_norm else nn.Identity()
        self.pre_logits: nn.Module = nn.Identity()
        if model.head_hidden:
            hidden = nn.Linear(dim, model.head_hidden_dim or dim)
            _lecun_normal(hidden)
            self.pre_logits = nn.Sequential(OrderedDict(fc=hidden, act=nn.Tanh()))
            dim = hidden.out_features
        self.head: nn.Module = nn.Identity()
        if num_classes:
            self.head = nn.Linear(dim, num_classes)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits (B, K) of images (B, 3, H, W)."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Returns the tokens (B, N, D) of images, a class token first, normed but for fc_norm."""
        x_BND = self.patch_embed(images)
        if self.cls_token is not None:
            x_BND = torch.cat((self.cls_token.expand(len(x_BND), -1, -1), x_BND), 1)
        layers = zip(self.blocks, self._added_tables(), self._relative_keys(), strict=True)
        for i, (block, table_ND, rel_keys_NNd) in enumerate(layers):
            if table_ND is not None:
                x_BND = x_BND + table_ND
            if i == 0:
                x_BND = self.dropout(x_BND)
            if self.recompute and torch.is_grad_enabled():
                x_BND = checkpoint(block, x_BND, rel_keys_NNd, use_reentrant=False)
            else:
                x_BND = block(x_BND, rel_keys_NNd)
        y_BND: Tensor = self.norm(x_BND)
        return y_BND

    def forward_head(self, x_BND: Tensor, pre_logits: bool = False) -> Tensor:
        """Returns the logits (B, K) of these tokens, or the (B, D) that they are linear in."""
        x_BD = x_BND[:, 0] if self.pool == "token" else x_BND[:, self.num_prefix_tokens :].mean(1)
        y: Tensor = self.pre_logits(self.fc_norm(x_BD))
        return y if pre_logits else self.head(y)

    def _added_tables(self) -> Sequence[Tensor | None]:
        """Returns for each block the table (N, D) added to the tokens before it, or None."""
        depth = len(self.blocks)
        if self.pos_emb.kind in ("none", "relative"):
            return [None] * depth
        if self.pos_emb.kind == "learned_2d":
            cls_L1D = getattr(self, "pos_embed_cls", None)
            table_LND = positions.absolute_2d(self.pos_embed_x, self.pos_embed_y, cls_L1D)
        else:
            table_LND = self.pos_embed
        if self.pos_emb.where == "every_layer":
            return table_LND.unbind(0)
        first, rest = table_LND[0], table_LND[0] if self.pos_emb.where == "shared" else None
        return [first] + [rest] * (depth - 1)

    def _relative_keys(self) -> Sequence[Tensor | None]:
        """Returns for each block the scaled relative keys (N, N, d) of its queries, or None."""
        if self.pos_emb.kind != "relative":
            return [None] * len(self.blocks)
        table_LOd = self.rel_pos_embed
        if self.cls_token is not None:
            table_LOd = torch.cat((table_LOd, self.rel_pos_cls), 1)
        table_LOd = table_LOd * table_LOd.shape[-1] ** -0.5
        return [F.embedding(self.rel_pos_index, table_Od) for table_Od in table_LOd.unbind(0)]


def _lecun_normal(layer: nn.Linear | nn.Conv2d) -> None:
    """Sets flax's default initial weights: normal, cut at two deviations, variance 1 / fan-in."""
    std = layer.weight[0].numel() ** -0.5 / 0.87962566  # the cut leaves 0.88 of a deviation
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
