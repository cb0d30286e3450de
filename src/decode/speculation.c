#include "decode/speculation.h"

#include "base/memory.h"

size_t speculation_wanted(const struct speculation *s, size_t room)
{
    return s->off ? 0 : size_min(s->n_drafts, room);
}

void speculation_add(struct speculation *s, size_t n, size_t accepted, bool ended)
{
    size_t checked = ended ? accepted : n, all = 0, right = 0;
    size_t at = s->steps % SPECULATION_WINDOW;
    if (checked == 0)
        return;
    for (size_t i = 0; i < checked; i++) {
        s->drafted[i]++;
        s->accepted[i] += i < accepted;
    }
    s->last[at].drafted = (uint8_t)checked;
    s->last[at].accepted = (uint8_t)accepted;
    s->steps++;
    for (size_t i = 0; i < SPECULATION_WINDOW; i++) {
        all += s->last[i].drafted;
        right += s->last[i].accepted;
    }
    s->off = s->steps >= SPECULATION_WINDOW && 2 * right < all;
}
