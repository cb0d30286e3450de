#include "nearest.h"

#include <stdbool.h>
#include <string.h>

/* Longer words are no misspelt names. */
enum { LONGEST = 40 };

static char folded(char c)
{
    if (c == '_')
        return '-';
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* a: [n], b: [m], neither longer than LONGEST. */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
    size_t d[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            size_t replaced = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = least(replaced, 1 + least(d[i - 1][j], d[i][j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

void nearest_try(struct nearest *best, const char *name)
{
    enum { SHORTEST_BEGINNING = 2 };
    char word[LONGEST] = "", other[LONGEST] = "";
    size_t n = best->n, m = strlen(name);
    if (n == 0 || m == 0 || n > LONGEST || m > LONGEST)
        return;
    for (size_t i = 0; i < n; i++)
        word[i] = folded(best->word[i]);
    for (size_t i = 0; i < m; i++)
        other[i] = folded(name[i]);
    /* A third of the letters may be wrong: more, and the names would only look alike by chance. */
    size_t longer = n > m ? n : m, cost = distance(word, n, other, m);
    bool beginning = n >= SHORTEST_BEGINNING && n < m && memcmp(word, other, n) == 0;
    if (beginning)
        cost = 1;
    if (cost < best->cost && (beginning || 3 * cost <= longer)) {
        best->cost = cost;
        best->name = name;
    }
}
