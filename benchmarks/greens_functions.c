/* Reduced shifted conjugate gradients as published, to compare with.
 *
 * Table III of arXiv:1607.03992, line by line, for all diagonal elements
 * G_ii(z) = <e_i|(z - H)^-1|e_i> of a real symmetric H on a chain (stride 0) or on a
 * square lattice of rows of length `stride`, one site after another. near[i] couples i - 1
 * and i, far[i] couples i - stride and i; both are zero where there is no bond. The seed
 * system is A = -H, real, so that its vectors are real; rho, Pi and Xi are complex. A shift
 * is frozen when its residual |rho| |r| is below FREEZE, and a site is done when all are
 * frozen. (The published program stops when |r|^2 max |rho| < 1e-12.)
 *
 * Compile: gcc -O3 -march=native -ffast-math -shared -fPIC greens_functions.c -o NAME.so
 */
#include <complex.h>
#include <stdlib.h>

typedef double complex number;

/* The operator; vectors have margins of zeros, 1 + stride numbers on both sides. */
typedef struct {
    const double *diagonal, *near, *far;
    long n, stride;
} lattice;

/* y = -H p */
static void apply(const lattice *h, const double *p, double *y) {
    const double *diagonal = h->diagonal, *near = h->near, *far = h->far;
    const long n = h->n, s = h->stride;
    if (!s)
        for (long i = 0; i < n; i++)
            y[i] = -(near[i] * p[i - 1] + diagonal[i] * p[i] + near[i + 1] * p[i + 1]);
    else
        for (long i = 0; i < n; i++)
            y[i] = -(near[i] * p[i - 1] + diagonal[i] * p[i] + near[i + 1] * p[i + 1]
                     + far[i] * p[i - s] + far[i + s] * p[i + s]);
}

static double dot(const double *x, const double *y, long n) {
    double sum = 0;
    for (long i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* One site; returns the number of iterations, or -1 if the limit was reached. */
static long element(const lattice *h, long site, const number *z, long num_z,
                    double freeze, long limit, number *xi, double *r, double *p,
                    double *ap, number *rho, number *rho_last, number *pi) {
    const long n = h->n;
    for (long i = 0; i < n; i++) r[i] = p[i] = 0;                      /* line 2 */
    r[site] = p[site] = 1;
    double alpha_last = 1, beta_last = 0, rr = 1, sigma = 1;           /* lines 2, 3 */
    for (long j = 0; j < num_z; j++) {                                 /* line 4 */
        xi[j] = 0;
        pi[j] = sigma;
        rho[j] = rho_last[j] = 1;
    }
    for (long k = 0; k < limit; k++) {                                 /* line 5 */
        apply(h, p, ap);
        double alpha = rr / dot(p, ap, n);                             /* line 6 */
        for (long i = 0; i < n; i++) r[i] -= alpha * ap[i];            /* line 8 */
        double rr_next = dot(r, r, n), beta = rr_next / rr;            /* line 9 */
        for (long i = 0; i < n; i++) p[i] = r[i] + beta * p[i];        /* line 10 */
        sigma = r[site];                                               /* line 11 */
        long running = 0;
        for (long j = 0; j < num_z; j++) {                             /* line 12 */
            double size = creal(rho[j]) * creal(rho[j]) + cimag(rho[j]) * cimag(rho[j]);
            if (size * rr < freeze * freeze) continue;
            running++;
            number next = rho[j] * rho_last[j] * alpha_last            /* line 13 */
                          / (rho_last[j] * alpha_last * (1 + alpha * z[j])
                             + alpha * beta_last * (rho_last[j] - rho[j]));
            number ratio = next / rho[j];
            xi[j] += ratio * alpha * pi[j];                            /* 14, 15 */
            pi[j] = next * sigma + ratio * ratio * beta * pi[j];       /* 16, 17 */
            rho_last[j] = rho[j];
            rho[j] = next;
        }
        if (!running) return k;
        rr = rr_next;
        alpha_last = alpha;
        beta_last = beta;
    }
    return -1;
}

/* Some sites: value[k][j] of site sites[k]; returns the iterations of all, or -1. */
long diagonal_elements(const double *diagonal, const double *near, const double *far,
                       long n, long stride, const long *sites, long num_sites,
                       const number *z, long num_z, double freeze, long limit,
                       number *value) {
    const lattice h = {diagonal, near, far, n, stride};
    const long margin = 1 + stride;
    double *vectors = malloc(2 * n * sizeof(double));
    double *p = calloc(n + 2 * margin, sizeof(double));
    number *numbers = malloc(3 * num_z * sizeof(number));
    long total = 0;
    for (long k = 0; k < num_sites && total >= 0; k++) {
        long count = element(&h, sites[k], z, num_z, freeze, limit, value + k * num_z,
                             vectors, p + margin, vectors + n, numbers, numbers + num_z,
                             numbers + 2 * num_z);
        total = count < 0 ? -1 : total + count;
    }
    free(vectors);
    free(p);
    free(numbers);
    return total;
}
