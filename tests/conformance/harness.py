"""lm-evaluation-harness, three ways, on the demo checkpoint: its `local-completions` model at our server, its own `hf` model (transformers
in float32), and `eval`.  Two tasks over local data: rolling likelihood of documents, as its wikitext task has it, and a multiple choice
of fifty items.  Exit status 1 where figures differ by more than 1e-4.

    python3 tests/conformance/harness.py [PROGRAM]

needs lm-eval, torch, transformers.  Prints a row a figure."""
import json
import math
import os
import random
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
os.environ.setdefault("SURPRISAL", os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(ROOT, "build", "surprisal"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "cli")]
from program import evaluate
from serving import Server

DEMO = os.path.join(ROOT, "data", "demo", "bf16")
LENGTH = 1024                           # tokens of a window
LIMIT = 1e-4                            # of a perplexity, relative, and of an accuracy
FIGURES = {"documents": ("word_perplexity", "byte_perplexity", "bits_per_byte"), "choices": ("acc", "acc_norm")}


def documents(text):
    """Longer and shorter than a window."""
    sizes, pieces, at = (300, 9000, 40, 2500, 12000), [], 0
    for size in sizes:
        end = text.index(" ", at + size)
        pieces.append(text[at:end])
        at = end + 1
    return [{"page": piece} for piece in pieces]


def choices(text):
    """Which of four pieces goes on?  The other three are from elsewhere in the text."""
    r, words, items = random.Random(1), text.split(" "), []
    for i in range(50):
        at = 60 * i + 200
        answers = [" ".join(words[b:b + 5]) for b in (at + 20, *(r.randrange(4000, len(words) - 5) for _ in range(3)))]
        right = answers[0]
        r.shuffle(answers)
        items.append({"question": " ".join(words[at:at + 20]), "choices": answers, "answer": answers.index(right)})
    return items


def task(folder, name, rows, **config):
    path = os.path.join(folder, name + ".jsonl")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)
    return {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": path}}, "test_split": "test",
            "metric_list": [{"metric": m} for m in FIGURES[name]], **config}


def by_eval(rows):
    """The wikitext task's figures from the rolling likelihood of each document."""
    nll, words, size = 0.0, 0, 0
    for row in rows:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as f:
            f.write(row["page"])
            f.flush()
            nll += float(evaluate(DEMO, f.name, "--protocol", "rolling", "--context", LENGTH)[1]["nll"].sum())
        words += len(re.split(r"\s+", row["page"]))
        size += len(row["page"].encode())
    return {"word_perplexity": math.exp(nll / words), "byte_perplexity": math.exp(nll / size), "bits_per_byte": nll / size / math.log(2)}


def main():
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    with open(os.path.join(ROOT, "data", "demo", "text.txt"), encoding="utf-8") as f:
        text = f.read()
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, Server(DEMO, "--max-model-len", LENGTH + 8) as s:
        tasks = [task(folder, "documents", documents(text), output_type="loglikelihood_rolling", doc_to_text="", doc_to_target="{{page}}"),
                 task(folder, "choices", choices(text), output_type="multiple_choice", doc_to_text="{{question}}", doc_to_choice="{{choices}}",
                      doc_to_target="{{answer}}")]
        # Two more: of max_length this model of the harness keeps one for the prefix and one for an answer.
        remote = LocalCompletionsAPI(model=DEMO, base_url=f"http://127.0.0.1:{s.port}/v1/completions", tokenizer_backend="remote",
                                     max_length=LENGTH + 2, tokenized_requests=True, batch_size=2)
        local = HFLM(pretrained=DEMO, dtype="float32", device="cpu", max_length=LENGTH, batch_size=1)
        got = {name: lm_eval.simple_evaluate(model, tasks=[dict(t) for t in tasks], bootstrap_iters=0)["results"]
               for name, model in (("server", remote), ("hf", local))}
        ours = by_eval(documents(text))
    print(f"{'figure':28} {'local-completions, serve':>26} {'hf':>20} {'eval':>20}")
    for name, figures in FIGURES.items():
        for figure in figures:
            served, theirs = (got[way][name][figure + ",none"] for way in ("server", "hf"))
            others = [theirs] + ([ours[figure]] if figure in ours else [])
            worst = max([worst] + [abs(served / x - 1) if x else abs(served) for x in others])
            print(f"{name + ' ' + figure:28} {served:26.9f} {theirs:20.9f} " + (f"{ours[figure]:20.9f}" if figure in ours else " " * 20))
    print(f"largest difference {worst:.3g}, at most {LIMIT:g}")
    sys.exit(worst > LIMIT)


main()
