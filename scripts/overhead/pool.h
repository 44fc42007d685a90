/* pool.h: activity buffers for consumers that throw everything away.
 *
 * They are made, touched and recycled outside of what is measured, and as large as the capture
 * library's, so that both ask equally often.
 */
#ifndef OVERHEAD_POOL_H
#define OVERHEAD_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes the first buffers, with all their pages. */
void pool_fill(void);
/* A buffer for CUPTI; *size 0 where there is none. */
void pool_take(uint8_t **buffer, size_t *size, size_t *most);
/* Takes a buffer back; false: it is not one of this pool. */
bool pool_give(uint8_t *buffer);

#endif
