"""Made-up run folders, as eval leaves them, whose NLL is known: what `surprisal compare` makes of it can be told beforehand."""
import hashlib
import json
import os

import numpy as np
import safetensors_io as st
from program import fresh

COLUMNS = ("position", "window", "id", "nll", "top1", "logsumexp")


def figures(nll, windows):
    """-> mean, its standard error over windows of equal length (None for one), perplexity; what is not finite is None"""
    with np.errstate(all="ignore"):
        sums, n = nll.reshape(windows, -1).sum(1), nll.size
        mean = sums.sum() / n
        error = np.sqrt(windows / (windows - 1) * ((sums - mean * n / windows) ** 2).sum()) / n if windows > 1 else np.nan
        return [float(x) if np.isfinite(x) else None for x in (mean, error, np.exp(mean))]


def sign(summary, folder):
    """summary.json, with the digest of itself as its last member"""
    text = json.dumps(summary, indent="\t", separators=(",", ":\t"))
    own = hashlib.sha256(text.encode()).hexdigest()
    with open(os.path.join(folder, "summary.json"), "w") as f:
        f.write(text[:-2] + f',\n\t"sha256":\t"{own}"\n}}')


def write(nll, windows, top1=None, columns=None, summary=None):
    """-> a folder of disjoint windows with as many scored tokens each.  columns, summary: what replaces a column or a member; None
    leaves it out."""
    nll = np.asarray(nll, np.float64).reshape(-1)
    n, per = nll.size, nll.size // windows
    row = np.arange(n)
    data = dict(position=(row // per * (per + 1) + row % per + 1).astype(np.int32), window=(row // per).astype(np.int32),
                id=(row % 50000).astype(np.int32), nll=nll, top1=(row % 7 if top1 is None else top1).astype(np.int32),
                logsumexp=np.zeros(n, np.float32))
    data |= columns or {}
    data = {k: v for k, v in data.items() if v is not None}
    mean, error, perplexity = figures(nll, windows)
    members = dict(surprisal="0.1.0", checkpoint=dict(path="made-up", digest="0", bytes=0),
                   text=dict(path="ids", sha256="0", join=None), tokenizer=None, protocol="disjoint", context=per + 1, stride=per + 1,
                   windows=windows, tokens=windows * (per + 1), scored=n, compute="f32", isa="none", mean_nll=mean,
                   perplexity=perplexity, nll_stderr=error, prefix_id=None, max_windows=None, documents=None,
                   tokens_sha256=hashlib.sha256(b"".join(data[c].tobytes() for c in COLUMNS if c in data)).hexdigest())
    members |= summary or {}
    folder = fresh("record")
    os.mkdir(folder)
    st.write(os.path.join(folder, "tokens.safetensors"), data)
    sign({k: v for k, v in members.items() if v is not ...}, folder)
    return folder
