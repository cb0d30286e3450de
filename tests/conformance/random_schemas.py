"""JSON schemas by chance, of all that answers may be held to (SERVE 3.8)."""


def random_schema(r, depth=0):
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "pattern", "format", "lengths", "bounds"]
    kind = r.choice(kinds + (["object", "object", "array", "tuple", "anyOf", "allOf", "ref", "types"] if depth < 3 else []))
    if kind == "enum":
        return {"enum": r.sample(["a", "b\"\\", "é\n", 1, 2.5, -3, None, True, False, [], {}, [1, "x"], {"k": {"l": [2]}}, "日本"], r.randint(1, 6))}
    if kind == "const":
        return {"const": r.choice(["x", 0, 1.5, None, {"b": 1, "a": [True]}, 1e-7, -12345678901])}
    if kind == "pattern":
        return {"type": "string", "pattern": r.choice(["^[a-z]{2,5}$", "a+b", "^(foo|bar)*$", "x.y$", "^\\d{3}-\\d{4}$", "(?i)^yes|no$", "^[^a]*$", "\\.", "^\"\\\\/$"])}
    if kind == "format":
        return {"type": "string", "format": r.choice(["date", "time", "date-time", "uuid", "email"])}
    if kind == "lengths":
        low = r.randint(0, 4)
        return {"type": "string", "minLength": low, "maxLength": low + r.randint(0, 9), **({"pattern": "^[a-zé]*$"} if r.random() < 0.3 else {})}
    if kind == "bounds":
        low, high = sorted(r.choice([-1, 1]) * r.randint(0, 10 ** r.randint(0, 12)) for _ in range(2))
        return {"type": "integer", **{r.choice(["minimum", "exclusiveMinimum"]): low}, **({"maximum": high + 2} if r.random() < 0.8 else {})}
    if kind == "object":
        names = r.sample(["a", "ab", "b", "name", "é", "q\"", "x y", ""], r.randint(0, 4))
        schema = {"type": "object", "properties": {n: random_schema(r, depth + 1) for n in names}, "required": [n for n in names if r.random() < 0.5]}
        if r.random() < 0.2:
            schema["required"].append("extra")
        if r.random() < 0.6:
            schema["additionalProperties"] = r.choice([False, True, {"type": "integer"}]) if "extra" not in schema["required"] else {"type": "integer"}
        return schema
    if kind == "array":
        low = r.randint(0, 2)
        return {"type": "array", "items": random_schema(r, depth + 1), "minItems": low, "maxItems": low + r.randint(0, 3)}
    if kind == "tuple":
        return {"type": "array", "prefixItems": [random_schema(r, depth + 1) for _ in range(r.randint(1, 3))], "items": r.choice([False, True, {"type": "null"}]), "maxItems": 5}
    if kind == "anyOf":
        return {"anyOf": [random_schema(r, depth + 1) for _ in range(r.randint(1, 3))]}
    if kind == "allOf":
        return {"allOf": [{"type": "object", "properties": {"a": random_schema(r, depth + 1)}, "required": ["a"]}, {"properties": {"b": random_schema(r, depth + 1), "a": True}}]}
    if kind == "ref":
        return {"$ref": "#/$defs/tree"}
    if kind == "types":
        return {"type": r.sample(["string", "integer", "null", "boolean", "array", "object"], r.randint(1, 3)), "maxLength": 5, "maxItems": 2}
    return {"type": kind}


TREE = {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
        "required": ["value"], "additionalProperties": False}


def whole_schema(r):
    return {"$defs": {"tree": TREE}, **random_schema(r)}
