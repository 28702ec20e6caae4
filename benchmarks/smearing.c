/* Smearing on periodic lattices and its pullback: plain loops to compare with.
 *
 * y[i] = x[i] + sum_s a[s] sum_(d in shell s) x[i + d], any number of components,
 * features last; gx is the same map of gy, ga[s] = sum_i gy[i] . sum_d x[i+d].
 * `p` and `pg` are room for x and gy with a periodic margin of `up` rows and `side`
 * columns; `offset` holds, shell after shell, the displacements as steps in p; `first`
 * says where each shell begins. A row of the lattice is contiguous: a chain is one row.
 * Rows are cut into blocks that stay in the first-level cache, so that the innermost
 * loops run over contiguous memory.
 *
 * Compile: gcc -O3 -march=native [-fopenmp] -shared -fPIC smearing.c -o smearing.so
 */
#include <string.h>

enum { BLOCK = 512 };

#define DEFINE(REAL, NAME)                                                             \
    static void pad_##NAME(const REAL *x, REAL *p, long rows, long width, long up,     \
                           long side) {                                                \
        long stride = width + 2 * side;                                                \
        for (long i = -up; i < rows + up; i++) {                                       \
            const REAL *from = x + ((i + rows) % rows) * width;                        \
            REAL *to = p + (i + up) * stride;                                          \
            memcpy(to, from + width - side, side * sizeof(REAL));                      \
            memcpy(to + side, from, width * sizeof(REAL));                             \
            memcpy(to + side + width, from, side * sizeof(REAL));                      \
        }                                                                              \
    }                                                                                  \
    /* total[j] = sum_(d in shell s) q[j + d] for the `size` entries of a block */     \
    static void shell_##NAME(const REAL *q, REAL *total, long size, long begin,        \
                             long end, const long *offset) {                           \
        for (long j = 0; j < size; j++) total[j] = q[j + offset[begin]];               \
        for (long d = begin + 1; d < end; d++)                                         \
            for (long j = 0; j < size; j++) total[j] += q[j + offset[d]];              \
    }                                                                                  \
    static void map_##NAME(const REAL *p, const REAL *a, REAL *y, long rows,           \
                           long width, long up, long side, long shells,                \
                           const long *first, const long *offset) {                    \
        long stride = width + 2 * side;                                                \
        _Pragma("omp parallel for collapse(2)")                                        \
        for (long i = 0; i < rows; i++)                                                \
            for (long j = 0; j < width; j += BLOCK) {                                  \
                long size = width - j < BLOCK ? width - j : BLOCK;                     \
                const REAL *q = p + (i + up) * stride + side + j;                      \
                REAL *out = y + i * width + j, total[BLOCK];                           \
                for (long k = 0; k < size; k++) out[k] = q[k];                         \
                for (long s = 0; s < shells; s++) {                                    \
                    shell_##NAME(q, total, size, first[s], first[s + 1], offset);      \
                    for (long k = 0; k < size; k++) out[k] += a[s] * total[k];         \
                }                                                                      \
            }                                                                          \
    }                                                                                  \
    /* Forward and pullback: y, gx and ga from x, a and gy. */                         \
    void smear_##NAME(const REAL *x, const REAL *a, const REAL *gy, REAL *y, REAL *gx, \
                      REAL *ga, REAL *p, REAL *pg, long rows, long width, long up,     \
                      long side, long shells, const long *first, const long *offset) { \
        long stride = width + 2 * side;                                                \
        pad_##NAME(x, p, rows, width, up, side);                                       \
        map_##NAME(p, a, y, rows, width, up, side, shells, first, offset);             \
        pad_##NAME(gy, pg, rows, width, up, side);                                     \
        map_##NAME(pg, a, gx, rows, width, up, side, shells, first, offset);           \
        for (long s = 0; s < shells; s++) ga[s] = 0;                                   \
        _Pragma("omp parallel for collapse(2) reduction(+ : ga[:shells])")             \
        for (long i = 0; i < rows; i++)                                                \
            for (long j = 0; j < width; j += BLOCK) {                                  \
                long size = width - j < BLOCK ? width - j : BLOCK;                     \
                const REAL *q = p + (i + up) * stride + side + j;                      \
                const REAL *g = gy + i * width + j;                                    \
                REAL total[BLOCK];                                                     \
                for (long s = 0; s < shells; s++) {                                    \
                    REAL sum = 0;                                                      \
                    shell_##NAME(q, total, size, first[s], first[s + 1], offset);      \
                    for (long k = 0; k < size; k++) sum += g[k] * total[k];            \
                    ga[s] += sum;                                                      \
                }                                                                      \
            }                                                                          \
    }

DEFINE(double, float64)
DEFINE(float, float32)
