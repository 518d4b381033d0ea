"""Texts by which YAML readers run code, or run out of memory, time or patience."""

from __future__ import annotations

BOMBS = {
    "aliases": "a: &a [x, x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{(f'*{chr(97 + n)},') * 9}]\n" for n in range(20)),
    "merged aliases": "a: &a {x: 1}\n"
    + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{(f'*{chr(97 + n)},') * 9}]}}\n" for n in range(20)
    ),
    "an alias of itself": "a: &a [*a]\n",
    "deep lists": "[" * 100_000,
    "deep mappings": "{a: " * 60_000,
    "deep keys": "? " * 100_000,
    "deep indentation": "\n".join(" " * n + "a:" for n in range(600)),
    "a long number": "x: " + "9" * 200_000,
    "a number of base 60": "x: " + "59:" * 60_000 + "59",
    "a fraction of base 60": "x: " + "59:" * 60_000 + "59.5",
    "an octal number": "x: !!int 0" + "7" * 200_000,
    "a long text": "x: " + "word " * 10**6,
    "a function": "!!python/object/apply:os.system ['touch evil']",
    "a module": "!!python/module:antigravity ''",
    "an object": "!!python/object/new:subprocess.Popen [[touch, evil]]",
    "a date that is none": "2026-99-99",
    "a tagged date that is none": "!!timestamp today",
    "an integer that is none": "!!int ''",
    "a boolean that is none": "!!bool perhaps",
    "several documents": "a: 1\n---\nb: 2\n",
    "steering the terminal": 'a: "\\e[2J"',
    "not UTF-8": b"\xff\xfe\xfd",
    "zeros": bytes(1000),
}
