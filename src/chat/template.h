/* template.h - a chat template: read once, rendered for each conversation.
 *
 * The subset of Jinja that published templates of this family use, with Python's semantics as
 * jinja2 3.1.6 has them in transformers (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks,
 * loop controls; utils/chat_template_utils.py).  What lies outside of the subset is refused by name
 * and line when the template is read. */
#ifndef SURPRISAL_CHAT_TEMPLATE_H
#define SURPRISAL_CHAT_TEMPLATE_H

#include <time.h>

#include "chat/interpreter.h"

#define TEMPLATE_BYTES ((size_t)128 << 20)      /* of the tree */

/* Does not change once read: threads may share it. */
struct template;

/* text: n bytes, not kept.  path names the source in errors. */
struct template *template_read(const char *text, size_t n, const char *path, struct error *err);
void template_free(struct template *t);

/* Does it read content that is a list of parts? */
bool template_reads_parts(const struct template *t);

/* Appends the text to out.  The limits of interpreter.h hold, and those of w.  The time is what
 * strftime_now prints. */
bool template_render(struct marked_text_builder *out, const struct template *t,
                     const struct value_mapping *variables, time_t now, struct workspace *w,
                     struct error *err);

#endif
