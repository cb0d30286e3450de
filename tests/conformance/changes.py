"""Changes to a copy of a checkpoint: each function returns one, to be called with the copy's folder."""
import json
import os

INDEX, CONFIG = "model.safetensors.index.json", "config.json"


def in_json(name, change):
    """change gets what a JSON file holds, and edits it in place."""
    def do(folder):
        path = os.path.join(folder, name)
        with open(path) as f:
            value = json.load(f)
        change(value)
        with open(path, "w") as f:
            json.dump(value, f)
    return do


def in_turn(*changes):
    def do(folder):
        for change in changes:
            change(folder)
    return do


def remove(name):
    return lambda folder: os.remove(os.path.join(folder, name))
