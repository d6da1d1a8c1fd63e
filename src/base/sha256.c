/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 by the low-level calls of OpenSSL.
 *
 * They are deprecated since 3.0, and used here knowingly: they call the same
 * compression function (SHA-NI, AVX2, ARMv8 where the CPU has it) as EVP
 * does, without its dispatch through a provider. 55 bytes on a Zen 5 virtual
 * machine, best of 15 runs of 20,000, OpenSSL 3.0.22:
 *
 *	EVP, context reused, EVP_DigestInit_ex2(ctx, NULL, NULL)   69 ns
 *	SHA256_Init, _Update, _Final                               47 ns
 *	one padded block, SHA256_Init, SHA256_Transform            43 ns
 *
 * A key is hashed for every check, and EVP_DigestInit_ex2() also needs a
 * context per thread that somebody must have allocated. The day the calls
 * disappear, this file is the only one to change.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/sha256.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#define BLOCK_BYTES 64
/* One block holds the message, the byte 0x80 and 64 bits of length. */
#define ONE_BLOCK_MAX (BLOCK_BYTES - 1 - 8)

static void store_be32(uint8_t *to, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(to, &v, sizeof(v));
}

static void hash_one_block(const void *msg, size_t msg_len,
			   uint8_t out[static SHA256_BYTES])
{
	_Alignas(BLOCK_BYTES) uint8_t block[BLOCK_BYTES];
	SHA256_CTX ctx;

	memset(block, 0, sizeof(block));
	if (msg_len > 0)
		memcpy(block, msg, msg_len);
	block[msg_len] = 0x80;
	block[BLOCK_BYTES - 2] = (uint8_t)(msg_len >> 5); /* bits, high byte */
	block[BLOCK_BYTES - 1] = (uint8_t)(msg_len << 3);

	SHA256_Init(&ctx);
	SHA256_Transform(&ctx, block);
	for (size_t i = 0; i < SHA256_BYTES / 4; i++)
		store_be32(out + 4 * i, ctx.h[i]);

	/* Only `block` held the message: the context's own buffer is used by
	 * SHA256_Update alone. The asm keeps the stores from being dropped;
	 * OPENSSL_cleanse() would do the same for 1 ns more. */
	memset(block, 0, sizeof(block));
	__asm__ volatile("" : : "r"(block) : "memory");
}

void sha256(const void *msg, size_t msg_len, uint8_t out[static SHA256_BYTES])
{
	SHA256_CTX ctx;

	if (msg_len <= ONE_BLOCK_MAX) {
		hash_one_block(msg, msg_len, out);
		return;
	}
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, msg, msg_len);
	SHA256_Final(out, &ctx);
	OPENSSL_cleanse(&ctx, sizeof(ctx));
}
