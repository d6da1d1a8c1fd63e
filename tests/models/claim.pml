/* SPDX-License-Identifier: MIT */

/*
 * A model of "claim and help" (src/gate/claim.h): owners that re-use their
 * descriptors, whoever meets an odd gate and helps, and death of the process
 * between any two accesses to memory, in recovery too. README.md says what is
 * left out and which name here is which there.
 */

/* How much of it: every state within these bounds is visited. */
#ifndef DECISIONS
#define DECISIONS 2 /* of each owner in each life of the process */
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef GATES
#define GATES 1 /* an owner takes them in turn */
#endif
#ifndef LIMIT
#define LIMIT 2 /* units of a gate, used less freed: beyond are denials */
#endif
#ifndef READS
#define READS 1 /* of the reader in each life */
#endif

#define OWNERS 2
#define MORTALS (OWNERS + 1) /* and a reader */
#define CLAIMED 2 /* words of a decision: CLAIM_WORDS_MAX */
#define PER_GATE 4 /* words of a gate: USED, FREED and OWN of each */
#define WORDS (GATES * PER_GATE)

#define NAME(seq, owner) ((seq) << 2 | (owner) << 1 | 1)
#define NAME_SEQ(name) ((name) >> 2)
#define NAME_OWNER(name) ((name) >> 1 & 1)
#define ODD(value) ((value) & 1)

/* ---- The arena ---- */

typedef descriptor {
	byte seq;
	byte last_seq;
	byte gate_off;
	byte gate_next;
	byte off[CLAIMED];
	byte from[CLAIMED];
	byte to[CLAIMED]
};

byte gate[GATES];
byte word[WORDS];
descriptor desc[OWNERS];

#define USED(g) ((g) * PER_GATE)
#define FREED(g) ((g) * PER_GATE + 1)
#define OWN(g, owner) ((g) * PER_GATE + 2 + (owner))

/* ---- What is true: no process acts upon it ---- */

byte decided[GATES]; /* decisions so far */
byte truth[WORDS];   /* the words after them */

#define SETTLED(g)                                                             \
	(gate[g] == 2 * decided[g] && word[USED(g)] == truth[USED(g)] &&       \
	 word[FREED(g)] == truth[FREED(g)] &&                                  \
	 word[OWN(g, 0)] == truth[OWN(g, 0)] &&                                \
	 word[OWN(g, 1)] == truth[OWN(g, 1)])

/* ---- Life and death of the process with its threads ---- */

bool running = true;
bool recovery_died;
byte deaths;
byte fallen = MORTALS; /* threads of the dead process that are gone */

/* A dead thread does nothing but go, in order: no state depends on which.
 * Threads stand first in this file, so that they are number 0, 1, .. */
#define MORTAL provided(running || fallen == _pid)

/* ---- claim.c ---- */

#define COPY                                                                   \
	byte version, name, gate_off, gate_next, off[CLAIMED], from[CLAIMED],  \
		to[CLAIMED]

inline forget_copy()
{
	gate_off = 0;
	gate_next = 0;
	off[0] = 0;
	off[1] = 0;
	from[0] = 0;
	from[1] = 0;
	to[0] = 0;
	to[1] = 0;
	name = 0
}

/* A word changes only while the gate has the decision's name, and into what
 * was decided: a late helper changes nothing. */
inline swing(g, its_name, w, before, after)
{
	d_step {
		if
		:: word[w] == before ->
			assert(gate[g] == its_name && truth[w] == after);
			word[w] = after
		:: else
		fi
	}
}

inline swing_gate(g, its_name, after)
{
	d_step {
		if
		:: gate[g] == its_name -> gate[g] = after
		:: else
		fi
	}
}

inline claim_apply()
{
#ifdef MUTANT_GATE_FIRST
	swing_gate(gate_off, name, gate_next);
#endif
	swing(gate_off, name, off[0], from[0], to[0]);
	swing(gate_off, name, off[1], from[1], to[1]);
	swing_gate(gate_off, name, gate_next)
}

#define DESC desc[NAME_OWNER(name)]

/* copy_decision() and claim_apply(). Not a copy: the gate has moved on, for
 * otherwise we would wait for ever, an end that is not valid. */
inline help(g)
{
	name = version;
	if
	:: DESC.seq == NAME_SEQ(name) ->
		gate_off = DESC.gate_off;
		gate_next = DESC.gate_next;
		off[0] = DESC.off[0];
		from[0] = DESC.from[0];
		to[0] = DESC.to[0];
		off[1] = DESC.off[1];
		from[1] = DESC.from[1];
		to[1] = DESC.to[1];
		if
#ifdef MUTANT_NO_RECHECK
		:: true ->
#else
		:: DESC.seq == NAME_SEQ(name) ->
#endif
			claim_apply()
		:: else -> gate[g] != name
		fi
	:: else -> gate[g] != name
	fi;
	d_step {
		forget_copy()
	}
}

inline claim_settle(g)
{
	do
	:: atomic {
		version = gate[g];
		if
		:: !ODD(version) -> break
		:: else
		fi
	   }
	   help(g)
	od
}

/* ---- Who decides ---- */

/* An owner takes units if there are as many: {USED, OWN}. The other one does
 * so, too, and in between frees a unit and takes it: {USED, FREED}. */
#define FREES (_pid == 1 && left % 2 == 1)
#define GATE_OF(left) (((left) + _pid) % GATES)
#define COST (1 + (_pid == 1 && left % 2 == 0))

#ifdef MUTANT_WORDS_GO_BACK
#define FITS true
#define AFTER(value) (1 - (value))
#else
#define FITS (FREES || used + COST <= LIMIT + freed)
#define AFTER(value) ((value) + COST)
#endif

inline claim_begin_and_add()
{
#ifndef MUTANT_NO_INVALID_SEQ
	desc[_pid].seq = 0;
#endif
	desc[_pid].off[0] = USED(g);
	desc[_pid].from[0] = used;
	desc[_pid].to[0] = AFTER(used);
	desc[_pid].off[1] = second;
	desc[_pid].from[1] = second_from;
	desc[_pid].to[1] = AFTER(second_from)
}

/* What is true moves with the decision, and what was read must be true. */
inline claim_commit()
{
	d_step {
		seq++;
		desc[_pid].gate_off = g
	}
	desc[_pid].gate_next = version + 2;
	desc[_pid].last_seq = seq;
	desc[_pid].seq = seq;
	d_step {
		if
		:: gate[g] == version ->
			assert(used == truth[USED(g)] &&
			       freed == truth[FREED(g)] &&
			       own == truth[OWN(g, _pid)]);
			truth[USED(g)] = AFTER(used);
			truth[second] = AFTER(second_from);
			decided[g]++;
			gate[g] = NAME(seq, _pid);
			won = true
		:: else
		fi
	}
	if
	:: won ->
		swing(g, NAME(seq, _pid), USED(g), used, AFTER(used));
		swing(g, NAME(seq, _pid), second, second_from, AFTER(second_from));
		swing_gate(g, NAME(seq, _pid), version + 2);
		d_step {
			if
			:: !FREES -> known[g] = AFTER(own)
			:: else
			fi;
			won = false;
			left--
		}
	:: else
	fi
}

/* Final, and true, if no decision got through since the words were read. */
inline deny()
{
	d_step {
		if
#ifdef MUTANT_BLIND_DENIAL
		:: true ->
#else
		:: gate[g] == version ->
#endif
			assert(truth[USED(g)] + COST > LIMIT + truth[FREED(g)]);
			left--
		:: else
		fi
	}
}

/* Nobody else changes an owner's own word, so it knows what must be there: a
 * decision that was lost or made twice would show. */
inline decide()
{
	used = word[USED(g)];
	freed = word[FREED(g)];
	d_step {
		own = word[OWN(g, _pid)];
		assert(gate[g] != version || own == known[g]);
		if
		:: FREES ->
			second = FREED(g);
			second_from = freed
		:: else ->
			second = OWN(g, _pid);
			second_from = own
		fi
	}
	if
	:: FITS ->
		claim_begin_and_add();
		claim_commit()
	:: else -> deny()
	fi
}

active [OWNERS] proctype owner() MORTAL
{
	COPY;
	byte seq, left, g, used, freed, own, second, second_from, known[GATES];
	bool won;

alive:
	{
		d_step {
			running;
			seq = desc[_pid].last_seq;
			left = DECISIONS;
			g = GATE_OF(left);
			known[0] = truth[OWN(0, _pid)];
#if GATES > 1
			known[1] = truth[OWN(1, _pid)]
#endif
		}
		do
		:: left > 0 ->
			claim_settle(g);
			decide();
			d_step {
				version = 0;
				used = 0;
			freed = 0;
				own = 0;
				g = GATE_OF(left)
			}
		:: else -> break
		od;
end:
		false
	} unless {
		d_step {
			!running;
			fallen++;
			forget_copy();
			version = 0;
			seq = 0;
			left = 0;
			g = 0;
			used = 0;
			freed = 0;
			second = 0;
			second_from = 0;
			own = 0;
			won = false;
			known[0] = 0;
#if GATES > 1
			known[1] = 0
#endif
		}
	}
	goto alive
}

/* ---- Who only reads, and helps ---- */

active proctype reader() MORTAL
{
	COPY;
	byte left, used, freed, own[OWNERS];

alive:
	{
		d_step {
			running;
			left = READS
		}
		do
		:: left > 0 ->
			claim_settle(0);
			used = word[USED(0)];
			freed = word[FREED(0)];
			own[0] = word[OWN(0, 0)];
			own[1] = word[OWN(0, 1)];
			d_step {
				if
				:: gate[0] == version ->
					assert(used == truth[USED(0)] &&
					       freed == truth[FREED(0)] &&
					       own[0] == truth[OWN(0, 0)] &&
					       own[1] == truth[OWN(0, 1)]);
					left--
				:: else
				fi;
				version = 0;
				used = 0;
				freed = 0;
				own[0] = 0;
				own[1] = 0
			}
		:: else -> break
		od;
end:
		false
	} unless {
		d_step {
			!running;
			fallen++;
			forget_copy();
			version = 0;
			left = 0;
			used = 0;
			freed = 0;
			own[0] = 0;
			own[1] = 0
		}
	}
	goto alive
}

/* ---- claim_recover() ---- */

/* Alone in the arena, so all that it reads of a descriptor is one step. */
active proctype recovery()
{
	COPY;
	byte k;

start:
	{
		k = 0;
end:
		!running && fallen == MORTALS && !recovery_died;
		do
		:: k < OWNERS ->
			d_step {
				name = NAME(desc[k].seq, k);
				gate_off = desc[k].gate_off;
				gate_next = desc[k].gate_next;
				off[0] = desc[k].off[0];
				from[0] = desc[k].from[0];
				to[0] = desc[k].to[0];
				off[1] = desc[k].off[1];
				from[1] = desc[k].from[1];
				to[1] = desc[k].to[1]
			}
			if
#ifdef MUTANT_LAZY_RECOVERY
			:: false ->
#else
			:: desc[k].seq != 0 && gate[gate_off] == name ->
#endif
				claim_apply()
			:: else
			fi;
			d_step {
				forget_copy();
				k++
			}
		:: else -> break
		od;
		k = 0;
		d_step {
#ifndef MUTANT_LAZY_RECOVERY
			assert(SETTLED(0));
#if GATES > 1
			assert(SETTLED(1));
#endif
#endif
			running = true
		}
	} unless {
		d_step {
			recovery_died;
			recovery_died = false;
			forget_copy();
			k = 0
		}
	}
	goto start
}

/* ---- What goes on beside it ---- */

active proctype death()
{
end:
	do
	:: d_step {
		deaths < DEATHS && running ->
		deaths++;
		running = false;
		fallen = 0
	   }
	:: d_step {
		deaths < DEATHS && !running && fallen == MORTALS &&
			!recovery_died ->
		deaths++;
		recovery_died = true
	   }
	od
}

/* All words of a decision, or none: in every state at each gate at rest. */
active proctype monitor()
{
end:
	(!ODD(gate[0]) && !SETTLED(0)
#if GATES > 1
	 || !ODD(gate[1]) && !SETTLED(1)
#endif
	);
	assert(false)
}
