"""Small models of the transformers library, with random weights from a configuration."""


def prepare(variant):
    """Imports what a model needs, which takes longer than building it."""
    import importlib

    from transformers import AutoModelForCausalLM  # noqa: F401

    name = ("llama", "gpt2", "qwen2")[variant - 1]
    importlib.import_module(f"transformers.models.{name}.modeling_{name}")


def model(variant, layers):
    """1: Llama, 2: GPT-2, 3: Qwen2."""
    import torch
    import transformers

    common = {"bos_token_id": 0, "eos_token_id": None, "pad_token_id": 0}
    if variant == 2:
        config = transformers.GPT2Config(n_embd=2048, n_layer=layers, n_head=16, n_positions=4096, vocab_size=32000, **common)
    else:
        kind = transformers.LlamaConfig if variant == 1 else transformers.Qwen2Config
        config = kind(
            hidden_size=2048, intermediate_size=8192, num_hidden_layers=layers, num_attention_heads=16, num_key_value_heads=4,
            vocab_size=32000, max_position_embeddings=8192, **common,
        )
    with torch.device("cuda"):
        built = transformers.AutoModelForCausalLM.from_config(config)
    return built.bfloat16().eval()


def prompt(batch, length):
    import torch

    return torch.randint(1, 32000, (batch, length), device="cuda")
