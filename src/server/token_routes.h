/* token_routes.h - the endpoints of the tokenizer: /tokenize, /detokenize, /tokenizer_info. */
#ifndef SURPRISAL_SERVER_TOKEN_ROUTES_H
#define SURPRISAL_SERVER_TOKEN_ROUTES_H

#include "server/exchange.h"

void token_routes_tokenize(struct exchange *x);
void token_routes_detokenize(struct exchange *x);
void token_routes_info(struct exchange *x);

/* The answer of /tokenizer_info, made once: tokenizer_config.json, its class and the template.
 * *end_id: of its eos_token; -1: it names none. */
bool token_routes_make_info(struct buffer *json, int32_t *end_id, const struct server *s,
                            struct error *err);

#endif
