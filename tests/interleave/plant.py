#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plants a mistake: copies sources with one place changed.

  plant.py MISTAKE SOURCE... COPY...

Which place is said by its words; how they are spaced and broken into lines does
not count. It must be there exactly once: if the source has changed, so must the
mistake."""

import re
import sys

# mistake: (end of the source's name, what stands there, what then stands there)
MISTAKES = {
    # An owner fills its descriptor while `seq` still says it is complete.
    'no_invalid_seq': (
        'claim.h',
        'atomic_store_explicit(&c->descriptor->seq, 0, memory_order_relaxed);',
        ''),
    # A denial that is not confirmed.
    'blind_denial': (
        'claim.h',
        'return atomic_load_explicit(gate, memory_order_relaxed) == version;',
        'return gate != NULL || version != 0;'),
    # A helper believes a copy that may be half of another decision.
    'no_recheck': (
        'claim.c',
        'return atomic_load_explicit(&d->seq, memory_order_relaxed) == '
        'NAME_SEQ(name);',
        'return true;'),
    # A decision made on what was read at an older version.
    'any_version': (
        'claim.c',
        'uint64_t expected = version;',
        'uint64_t expected = atomic_load_explicit(gate, memory_order_relaxed)'
        ' & ~UINT64_C(1);'),
    # A helper moves the gate on before the words.
    'gate_first': (
        'claim.c',
        'unsigned i; for (i = 0; i < dec->count; i++) swing(',
        'unsigned i; swing(word_at(a, dec->gate_off), name, dec->gate_next);'
        'for (i = 0; i < dec->count; i++) swing('),
    # Nobody helps.
    'waiting': (
        'claim.c',
        'if (copy_decision(a, name, &dec)) {',
        'if (NAME_SEQ(name) == 0 && copy_decision(a, name, &dec)) {'),
    # Not every descriptor is completed after a death.
    'lazy_recovery': (
        'claim.c',
        'for (owner = 0; owner < ARENA_OWNERS; owner++) {',
        'for (owner = 0; owner < 1; owner++) {'),
}


def main():
    name, *paths = sys.argv[1:]
    sources, copies = paths[:len(paths) // 2], paths[len(paths) // 2:]
    where, before, after = MISTAKES[name]
    pattern = r'\s+'.join(re.escape(word) for word in before.split())
    # A line may also be broken behind an opening parenthesis.
    pattern = pattern.replace(r'\(', r'\(\s*')
    for source, copy in zip(sources, copies):
        with open(source, encoding='utf-8') as text:
            content = text.read()
        if source.endswith(where):
            content, count = re.subn(pattern, lambda _: after, content)
            if count != 1:
                sys.exit(f'{source}: {count} places for {name}, not 1: '
                         f'adapt {sys.argv[0]}')
        with open(copy, 'w', encoding='utf-8') as text:
            text.write(content)


if __name__ == '__main__':
    main()
