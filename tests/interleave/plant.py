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
        'atomic_store_explicit(&d->seq, 0, memory_order_relaxed);',
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
        'claim.h',
        'uint64_t expected = version;',
        'uint64_t expected = atomic_load_explicit(gate, memory_order_relaxed)'
        ' & ~UINT64_C(1);'),
    # A helper moves the gate on before the words.
    'gate_first': (
        'claim.c',
        'unsigned i; for (i = 0; i < dec->count; i++) claim_swing(',
        'unsigned i; claim_swing(claim_word_at(a->base, dec->gate_off), name,'
        ' dec->gate_next); for (i = 0; i < dec->count; i++) claim_swing('),
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

    # What others hold at an address, as it was before ours was held.
    'looked_before': (
        'outside.c',
        'uint64_t held = atomic_fetch_add_explicit('
        '&o->held, units, memory_order_acq_rel);',
        'uint64_t held = atomic_load_explicit('
        '&o->held, memory_order_acquire);'
        ' atomic_fetch_add_explicit(&o->held, units,'
        ' memory_order_acq_rel);'),
    # It is let go before it is admitted.
    'let_go_first': (
        'outside.c',
        'if (admitted)',
        'atomic_fetch_sub_explicit(&o->held, units, memory_order_release);'
        ' if (!admitted) return;'
        ' for (; units != 0; units = 0)'),
    # Recovery does the same: who dies then has forgotten it.
    'forgotten': (
        'outside.c',
        'admit(c, r, o, entries, entries_log2, (uint32_t)held, now);',
        'atomic_store_explicit(&o->held, 0, memory_order_relaxed);'
        ' admit(c, r, o, entries, entries_log2, (uint32_t)held, now);'),
    # A lease is taken of what the word said before.
    'lease_at_a_glance': (
        'outside.c',
        '} while (!atomic_compare_exchange_weak_explicit( v.word, &v.from, '
        'v.from + units, memory_order_relaxed, memory_order_relaxed));',
        '} while (false); atomic_store_explicit(v.word, v.from + units, '
        'memory_order_relaxed);'),
    # One that a hold has is given back with those that are denied.
    'lease_of_nobody': (
        'outside.c',
        'if (!admitted) outside_end_lease(',
        'outside_end_lease('),

    # An answer that changes nothing, from words of two versions.
    'torn_answer': (
        'step.c',
        'return claim_unchanged(&s->org->gate, version);',
        'return true;'),
    # The budget is no part of the claim.
    'beside_the_claim': (
        'step.c',
        'claim_add(s->claim, c->word, c->from, c->to); words++;',
        'if (i == 1) atomic_store_explicit(c->word, c->to,'
        ' memory_order_release);'
        ' else claim_add(s->claim, c->word, c->from, c->to);'
        ' words++;'),
    # What was read at an older version is charged at this one.
    'any_version_of_org': (
        'step.c',
        'if (!step_commit(s, version)) return 0;',
        'if (!step_commit(s,'
        ' claim_settle(s->arena, &s->org->gate, s->counters))) return 0;'),
    # A lost claim is told as if it had got through.
    'lost_is_won': (
        'step.c',
        'if (!step_commit(s, version)) return 0;',
        'step_commit(s, version);'),
    # Two checks change a word, each for itself.
    'word_twice': (
        'step.c',
        'if (s->changes[i].word == w) return &s->changes[i];',
        'if (w == NULL) return &s->changes[i];'),

    # Of several checks only the first is charged to its key.
    'first_alone': (
        '/plain.c',
        'at = add_keys(s->claim, at, asks, count, all);',
        'at = add_keys(s->claim, at, asks, count, all & 1);'),
    # Each of several is told what the last one leaves.
    'told_at_the_end': (
        '/plain.c',
        'straight_tell(s, v, &least, units);',
        'straight_tell(s, v, &least, 0);'),
    # The request id is known before its check is decided, or if it never is.
    'id_beside_the_claim': (
        'step.c',
        'step_change(s, &a->once[0])->to ='
        ' ONCE_WORD(s->now.ns, a->hold != NULL);',
        'atomic_store_explicit(&a->once[0],'
        ' ONCE_WORD(s->now.ns, a->hold != NULL), memory_order_release);'),
    'id_before_the_claim': (
        'own.c',
        'at = claim_put(s->claim, at, &a->once[0], when,'
        ' ONCE_WORD(now_ns, 0));',
        'atomic_store_explicit(&a->once[0], ONCE_WORD(now_ns, 0),'
        ' memory_order_release);'),
    # And so is the hold live.
    'hold_beside_the_claim': (
        'step.c',
        'c = step_change(s, &a->hold->state); c->to = c->from | 1;',
        'atomic_fetch_or_explicit(&a->hold->state, 1, memory_order_release);'),

    # What was live when it was looked up is settled, whatever it is by now.
    'settles_any': (
        'settle.c',
        'if (claim_load(&t.hold->state) != state) {',
        'if (claim_load(&t.hold->state) < state) {'),
    # A lost claim is told as if it had got through.
    'lost_is_settled': (
        'settle.c',
        'if (!step_commit(s, version)) {'
        ' counter_add(&g->counters->retries, 1); continue; }',
        'step_commit(s, version);'),
    # What comes back is counted before it does, or if it never does.
    'returned_beside': (
        'settle.c',
        'step_change(s, &t->cell->returned)->to += units;',
        'atomic_fetch_add_explicit(&t->cell->returned, units,'
        ' memory_order_release);'),
    # A lease at an address is given back before that is decided.
    'lease_before_the_claim': (
        'settle.c',
        't->outside[t->outside_count++] = word; continue;',
        'outside_end_lease(word); continue;'),

    # A claim of the bucket was lost or helped, and nobody looks again.
    'no_second_look': (
        'subjects.c',
        'version = claim_settle(t->arena, &b->gate, c->counters);'
        ' word = look(b, hash);',
        'version = claim_settle(t->arena, &b->gate, c->counters);'),
    # A mark is left where it is by who takes the subject.
    'mark_stays': (
        'subjects.c',
        'return (name ^ (NAME_HASH(hash) | NAME_USED)) <= NAME_GEN_MASK;',
        'return name_matches(name, name_wanted(hash));'),
    # Freed as it was marked, without a look at what was charged since.
    'no_second_rest': (
        'subjects.c',
        '!at_rest(subjects_state(t, entry_of(home, word)), arg))',
        '(from == NAME_USED &&'
        ' !at_rest(subjects_state(t, entry_of(home, word)), arg)))'),
    # What was in use looks as if it never had been.
    'freed_is_fresh': (
        'subjects.c',
        'return hash_and_state | ((name + 1) & NAME_GEN_MASK);',
        'return hash_and_state == NAME_FREE ? NAME_FRESH :'
        ' hash_and_state | ((name + 1) & NAME_GEN_MASK);'),
    # Names that come back.
    'no_generation': (
        'subjects.c',
        'return hash_and_state | ((name + 1) & NAME_GEN_MASK);',
        'return hash_and_state | (name & NAME_GEN_MASK);'),
    # No room, as it was seen word by word.
    'full_at_a_glance': (
        'subjects.c',
        'if (claim_unchanged(&b->gate, version)) return SUBJECTS_FULL;',
        'return SUBJECTS_FULL;'),
    # A reader that does not ask whose state it has read.
    'anybodys_state': (
        'subjects.c',
        'return name_matches(atomic_load_explicit('
        '&t->buckets[home].names[i], memory_order_relaxed),'
        ' name_wanted(hash));',
        'return hash != 0;'),
    # Takes what it looked up, at whatever version there is.
    'any_version_of_bucket': (
        'subjects.c',
        'claim_add(c, words_of(b) + word, from,'
        ' name_after(from, hash_and_state));'
        ' return claim_commit(c, &b->gate, version);',
        'claim_add(c, words_of(b) + word, from,'
        ' name_after(from, hash_and_state));'
        ' return claim_commit(c, &b->gate, version |'
        ' claim_settle(c->arena, &b->gate, NULL));'),
    # Freed at once: no wait for the sections that are open.
    'no_grace': (
        'subjects_interleave.c',
        'if (!grace()) return false;',
        '(void)grace();'),
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
