/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_CLAIM_H
#define STILE_GATE_CLAIM_H

#include "gate/layout.h"

struct descriptor;

#endif
