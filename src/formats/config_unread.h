/* config_unread.h - settings of config.json's text model that nothing here reads.
 *
 * A setting that is neither read, nor refused unless it has the one implemented value (config.h),
 * nor known to be harmless may change the model. */
#ifndef SURPRISAL_FORMATS_CONFIG_UNREAD_H
#define SURPRISAL_FORMATS_CONFIG_UNREAD_H

#include "formats/config.h"

/* Calls add for each by its name, as "text_config.key" or "rope_parameters.key", until one call
 * returns false; the last result.  root: the parsed config.json. */
bool config_unread_each(const cJSON *root, bool (*add)(void *user, const char *name), void *user);

#endif
