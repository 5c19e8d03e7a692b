"""Tiny models of five families, with experts that PEFT itself trained and saved in its own format.

Sizes differ from one another on purpose (4 rows, 5 layers, 3 groups, 6 experts, hidden 48), so that
a weight that is broadcast along the wrong axis cannot pass. No B matrix is zero.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

# Before torch is imported, and for the processes that tests start: two that each take both cores
# wait for one another at every product, which is several times slower than a core each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from atmoe import AtMoe, Layout, RoutingPlan
from atmoe.answer.row import Decoding
from atmoe.mixture import base as base_models
from atmoe.mixture import base_loading
from atmoe.mixture.config import Info
from atmoe.mixture.experts import Adapter
from atmoe.mixture.planning import first_states
from atmoe.mixture.precision import best
from atmoe.mixture.store import build
from atmoe.prompt.batch import collate
from atmoe.routing.router import GroupedRouter

# Gradio looks for a free port and takes it a moment later. Two processes that start a page at once
# may find the same one, and a page that is an MCP server cannot be started a second time: the loser
# tries for minutes. So each process looks in a hundred of its own.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["GRADIO_SERVER_PORT"] = str(7860 + 100 * int(worker.removeprefix("gw")))

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "assets" / "medical"

LAYERS, HIDDEN = 5, 48
DEPTH = 2
"""How many layers a tiny planner reads."""
GROUPS = {"task": ("define", "treat", "warn"), "field": ("heart",), "reader": ("lay", "expert")}
LAYOUT = Layout.of(LAYERS, GROUPS)
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
# Ranks, scalings, modules and layers all differ; the first is plain, which PEFT's "cat" needs.
EXPERTS = {
    "task/define": dict(r=3, lora_alpha=16, target_modules=ATTENTION + MLP),
    "task/treat": dict(r=7, lora_alpha=8, target_modules=ATTENTION),
    "task/warn": dict(r=2, lora_alpha=5, target_modules=MLP),
    "field/heart": dict(r=9, lora_alpha=11, target_modules=ATTENTION + MLP, use_rslora=True),
    "reader/lay": dict(
        r=1, lora_alpha=2, target_modules=["q_proj", "down_proj"], layers_to_transform=[0, 3, 4]
    ),
    "reader/expert": dict(r=10, lora_alpha=10, target_modules=["v_proj", "up_proj"]),
}
PROMPTS = [
    "How is asthma treated?",
    "Explain the causes of Parkinson's disease in plain words, please.",
    "Gout?",
    "What is the outlook for a child with cystic fibrosis, and what should the parents watch for?",
]

SHAPE = dict(
    hidden_size=HIDDEN,
    intermediate_size=40,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=2048,
    initializer_range=0.1,
    bos_token_id=None,
    eos_token_id=2,
    pad_token_id=0,
)
WINDOW = dict(
    head_dim=16, sliding_window=13, query_pre_attn_scalar=16
)  # shorter than the prompts: it must hold too
FAMILIES = {
    "llama": lambda v: LlamaForCausalLM(
        LlamaConfig(vocab_size=v, tie_word_embeddings=True, **SHAPE)
    ),
    "qwen2": lambda v: Qwen2ForCausalLM(Qwen2Config(vocab_size=v, **SHAPE)),
    "qwen3": lambda v: Qwen3ForCausalLM(Qwen3Config(vocab_size=v, head_dim=14, **SHAPE)),
    "gemma2": lambda v: Gemma2ForCausalLM(Gemma2Config(vocab_size=v, **SHAPE, **WINDOW)),
    "gemma3": lambda v: Gemma3ForCausalLM(Gemma3TextConfig(vocab_size=v, **SHAPE, **WINDOW)),
}
BFLOAT16 = pytest.param(
    "bfloat16",
    marks=pytest.mark.skipif(best() != "bfloat16", reason="this processor takes minutes for it"),
)
"""As a parameter of tests over the shipped model."""
PAGE = "page"
"""The family of the model that the page is tested over: a Llama that answers in letters."""
CHAT = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nYou help.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|begin|>")


def tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level BPE over 256 bytes and a few merges; with ChatML, or bare with a first token."""
    vocabulary = {
        t: i for i, t in enumerate((*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())))
    }
    merges = [("Ġ", "a"), ("t", "h"), ("th", "e"), ("i", "s"), ("Ġ", "the"), ("e", "r")]
    for a, b in merges:
        vocabulary[a + b] = len(vocabulary)
    core = Tokenizer(models.BPE(vocabulary, merges))
    core.pre_tokenizer, core.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        bos_token=None if chat else "<|begin|>",
        clean_up_tokenization_spaces=False,
    )
    made.chat_template = CHAT if chat else None
    return made


def spoken(words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama that answers in letters; another of random weights says one byte over and over."""
    settings = LlamaConfig(
        vocab_size=len(words), tie_word_embeddings=False, **SHAPE | {"initializer_range": 0.3}
    )
    model = LlamaForCausalLM(settings).eval()
    said = [words.decode([token]) for token in range(len(words))]
    mute = [not re.fullmatch("[ a-z]+", text) for text in said]
    model.lm_head.weight.data[torch.tensor(mute)] = 0.0  # of the others some logit is above 0
    return model


class World:
    """One family: a base directory, PEFT adapter directories, and what is built of them."""

    def __init__(self, family: str, home: Path):
        self.family, self.home = family, home
        torch.manual_seed([*sorted(FAMILIES), PAGE].index(family))
        words = tokenizer(chat=family != "gemma2")
        model = spoken(words) if family == PAGE else FAMILIES[family](len(words)).eval()
        for name, parameter in model.named_parameters():
            if name.endswith(
                "norm.weight"
            ):  # Gemma's start at 0 and others' at 1: neither would show a slip
                torch.nn.init.uniform_(
                    parameter, *((-0.5, 0.5) if "gemma" in family else (0.5, 1.5))
                )
        self.directory = home / "base"
        model.save_pretrained(self.directory)
        words.save_pretrained(self.directory)
        self.found = base_models.fetch(self.directory, cache=home / "cache")
        self.tokenizer = base_loading.load(self.found)[1]
        for name, settings in EXPERTS.items():
            peft = get_peft_model(self.base(), LoraConfig(task_type="CAUSAL_LM", **settings))
            for key, value in peft.named_parameters():
                if "lora_" in key:
                    torch.nn.init.normal_(value, std=0.3 / value.shape[1] ** 0.5)
            peft.save_pretrained(self.adapter(name))

    def adapter(self, name: str) -> Path:
        return self.home / "experts" / name

    def base(self):
        """A base model of its own, untouched."""
        return base_loading.load(self.found)[0]

    def peft(self) -> PeftModel:
        """The base under PEFT, with every adapter loaded from its directory by PEFT."""
        first, *others = EXPERTS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peft = PeftModel.from_pretrained(
                self.base(), str(self.adapter(first)), adapter_name=first.replace("/", "-")
            )
            for name in others:
                peft.load_adapter(str(self.adapter(name)), adapter_name=name.replace("/", "-"))
        return peft.eval()

    def router(self, gain: torch.Tensor | None = None) -> GroupedRouter:
        """A router of random weights, so that layers and prompts get plans that differ."""
        torch.manual_seed(17)
        router = GroupedRouter(LAYOUT, HIDDEN)
        for parameter in router.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        router.gain.data = torch.linspace(0.5, 1.4, LAYERS) if gain is None else gain
        return router.requires_grad_(False)

    def planned(self, width: int = 8, pieces: int = 0) -> AtMoe:
        """A model whose router has a planner: teams that differ from prompt to prompt.

        Args:
            width: of its hidden layer; 0 = the planner of before, which has none.
            pieces: of words, that it knows; 0 = it does not read letters.
        """
        torch.manual_seed(23)
        router = GroupedRouter(LAYOUT, HIDDEN, depth=DEPTH, width=width, pieces=pieces)
        router.load_state_dict(self.router().state_dict(), strict=False)
        model = self.build(router=router.requires_grad_(False))
        # Of what prompts of a tiny model differ in, else all of them would get one team.
        batch = model.collate([model.encode(prompt) for prompt in PROMPTS])
        states = first_states(model.base, batch, DEPTH)
        mean, spread = states.mean(0), states.std(0)
        planner = router.planner
        reads, bias = planner.weight, planner.bias
        if width:
            planner.weight.normal_()
            reads, bias = planner.hidden_weight, planner.hidden_bias
        planner.floor.fill_(0.5 if width else 1.0)
        reads.normal_(std=0.2).div_(spread[:, None])
        bias.sub_(torch.einsum("leh,lh->e", reads, mean))
        if planner.spelling is not None:
            planner.spelling.weight.normal_(std=3)
            planner.spelling.rarity.uniform_(1, 5)
        return model

    def build(
        self, gain: torch.Tensor | None = None, router: GroupedRouter | None = None, **info
    ) -> AtMoe:
        adapters = [Adapter.load(self.adapter(name)) for name in LAYOUT.expert_names]
        router = router or self.router(gain)
        info = Info(
            **{
                "name": "tiny",
                "base_name": self.found.name,
                "base_sha256": self.found.sha256,
                "max_prompt_tokens": 300,
            }
            | info
        )
        return AtMoe(*build(self.base(), self.tokenizer, adapters, router, info))

    @cached_property
    def model(self) -> AtMoe:
        """Shared by tests that change nothing on it."""
        return self.build()

    @cached_property
    def unit(self) -> AtMoe:
        """The same with a gain of 1 at every layer."""
        return self.build(torch.ones(LAYERS))


@pytest.fixture(scope="session")
def worlds(tmp_path_factory):
    """Families by name, each built once, where first asked for."""
    built: dict[str, World] = {}

    def get(family: str) -> World:
        if family not in built:
            built[family] = World(family, tmp_path_factory.mktemp(family))
        return built[family]

    return get


@pytest.fixture(params=sorted(FAMILIES))
def world(request, worlds) -> World:
    """Each family in turn."""
    return worlds(request.param)


@pytest.fixture
def llama(worlds) -> World:
    return worlds("llama")


@pytest.fixture
def model(llama) -> AtMoe:
    """A tiny AT-MoE that no test may change."""
    return llama.model


@pytest.fixture
def seen(monkeypatch):
    """All logits that each row was given, by row."""
    logits, take = {}, Decoding.take
    monkeypatch.setattr(
        Decoding,
        "take",
        lambda self, new: logits.setdefault(self, []).append(new.clone()) or take(self, new),
    )
    return logits


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Keeps notes about tiny bases out of the user's cache."""
    monkeypatch.setenv("ATMOE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def medical() -> AtMoe:
    """The model that is shipped."""
    if not (ASSETS / "atmoe.json").is_file() and os.environ.get("CI", "").lower() != "true":
        pytest.skip(f"{ASSETS} is not there yet")
    return AtMoe.from_pretrained(ASSETS)


# Of the browser tests, in whichever file they are: one page and one browser for all. Gradio is
# imported only for them.
@pytest.fixture(scope="session")
def served(worlds):
    """(address, model) of the page, served once for all tests: a tiny model, or $ATMOE_MODEL."""
    from app.launch import launching
    from app.page import build

    path = os.environ.get("ATMOE_MODEL")
    model = AtMoe.from_pretrained(path) if path else worlds(PAGE).build(scripts=("LATIN",))
    demo = build(model, Path(path) / "reports" if path else None)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(model))
    yield address, model
    demo.close()


@pytest.fixture(scope="module")
def served_medical(medical):
    """(address, model) of the page over the shipped model; a module's `served` may be this one."""
    from app.launch import launching
    from app.page import build

    demo = build(medical, ASSETS / "reports")
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launching(medical))
    yield address, medical
    demo.close()


@pytest.fixture(scope="session")
def browser():
    from browser import LAUNCH
    from playwright import sync_api

    with sync_api.sync_playwright() as control:
        try:
            opened = control.chromium.launch(**LAUNCH)
        except sync_api.Error as error:
            if os.environ.get("CI", "").lower() == "true":
                raise
            pytest.skip(f"no browser: {error}")
        yield opened
        opened.close()


@pytest.fixture
def tab(browser, served):
    """One visitor."""
    from browser import visit

    with visit(browser, served) as tab:
        yield tab


def random_plan(seed: int, layout: Layout = LAYOUT) -> RoutingPlan:
    """A plan whose shares differ at every layer and sum to 1."""
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int) -> torch.Tensor:
        return (2 * torch.randn(layout.layers, n, generator=generator)).softmax(-1)

    return RoutingPlan(
        layout, draw(len(layout.groups)), torch.cat([draw(len(e)) for _, e in layout.groups], 1)
    )


def one_hot(name: str, layout: Layout = LAYOUT) -> RoutingPlan:
    """All weight on one expert."""
    group, expert = name.split("/")
    return RoutingPlan.choosing(layout, {group: expert}, {group: 1.0})


def logits_of(model: AtMoe, prompt: str, plan: RoutingPlan | None) -> torch.Tensor:
    """Logits at every token of one prompt. [tokens, vocabulary]"""
    with torch.inference_mode():
        return model.forward(
            model.collate([model.encode(prompt)]), None if plan is None else [plan]
        )[0][0]


def reference_logits(causal_model, model: AtMoe, prompt: str) -> torch.Tensor:
    """The same of any other causal language model, called the plain way. [tokens, vocabulary]"""
    batch = collate([model.encode(prompt)], pad=model.tokenizer.pad_token_id)
    with torch.inference_mode():
        return causal_model(
            input_ids=batch.ids, attention_mask=batch.attention, use_cache=False
        ).logits[0]


def aside(does, *values):
    """What a call gives on a thread of its own, where no loop of Playwright's is running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(does, *values).result()


def finished(coroutine):
    """What a coroutine gives, on a thread of its own, for a page test may have left a loop here."""
    return aside(asyncio.run, coroutine)  # noqa: TID251


def in_threads(count: int, work) -> None:
    """Call `work(i)` for each i below `count` at once, and raise what any of them raises."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny matrices: a pool of threads costs more than it computes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """A shell's background job ignores Ctrl-C, and so would the processes that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
