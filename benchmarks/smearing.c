/* Smearing on periodic lattices and its pullback: the plain loop to compare with.
 *
 * y[i] = x[i] + sum_s a[s] sum_(d in shell s) x[i + d], three components (or any
 * number), features last; gx is the same map of gy, ga[s] = sum_i gy[i] . sum_d x[i+d].
 * `p` is x with a periodic margin of `rows` rows and `columns` columns; `offset` holds,
 * shell after shell, the displacements as steps in p; `first` says where each begins.
 * One row of the lattice is contiguous: a chain is a single row.
 *
 * Compile: gcc -O3 -march=native [-fopenmp] -shared -fPIC smearing.c -o smearing.so
 */
#include <string.h>

#define DEFINE(REAL, NAME)                                                             \
    static void pad_##NAME(const REAL *x, REAL *p, long rows, long width, long up,     \
                           long side) {                                                \
        long stride = width + 2 * side;                                                \
        _Pragma("omp parallel for")                                                    \
        for (long i = -up; i < rows + up; i++) {                                       \
            const REAL *from = x + ((i + rows) % rows) * width;                        \
            REAL *to = p + (i + up) * stride;                                          \
            memcpy(to, from + width - side, side * sizeof(REAL));                      \
            memcpy(to + side, from, width * sizeof(REAL));                             \
            memcpy(to + side + width, from, side * sizeof(REAL));                      \
        }                                                                              \
    }                                                                                  \
    static void map_##NAME(const REAL *p, const REAL *a, REAL *y, long rows,           \
                           long width, long up, long side, long shells,                \
                           const long *first, const long *offset) {                    \
        long stride = width + 2 * side;                                                \
        _Pragma("omp parallel for collapse(2)")                                        \
        for (long i = 0; i < rows; i++)                                                \
            for (long j = 0; j < width; j++) {                                         \
                const REAL *q = p + (i + up) * stride + side + j;                      \
                REAL value = q[0];                                                     \
                for (long s = 0; s < shells; s++) {                                    \
                    REAL sum = 0;                                                      \
                    for (long d = first[s]; d < first[s + 1]; d++) sum += q[offset[d]];\
                    value += a[s] * sum;                                               \
                }                                                                      \
                y[i * width + j] = value;                                              \
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
            for (long j = 0; j < width; j++) {                                         \
                const REAL *q = p + (i + up) * stride + side + j;                      \
                REAL g = gy[i * width + j];                                            \
                for (long s = 0; s < shells; s++) {                                    \
                    REAL sum = 0;                                                      \
                    for (long d = first[s]; d < first[s + 1]; d++) sum += q[offset[d]];\
                    ga[s] += g * sum;                                                  \
                }                                                                      \
            }                                                                          \
    }

DEFINE(double, float64)
DEFINE(float, float32)
