/* Reduced shifted conjugate gradients as published, to compare with.
 *
 * Table III of arXiv:1607.03992, line by line, for all diagonal elements
 * G_ii(z) = <e_i|(z - H)^-1|e_i> of a real symmetric tridiagonal H, one site after
 * another. The seed system is A = -H, real, so that its vectors are real; rho, Pi and Xi
 * are complex. A shift is frozen at |rho| < FREEZE, and a site is done when all are
 * frozen. (The program stops when |r|^2 max |rho| < 1e-12, an absolute measure.)
 *
 * Compile: gcc -O3 -march=native -ffast-math -shared -fPIC greens_functions.c -o NAME.so
 */
#include <complex.h>
#include <stdlib.h>

typedef double complex number;

/* y = -H p */
static void apply(const double *diagonal, const double *hopping, const double *p,
                  double *y, long n) {
    y[0] = -(diagonal[0] * p[0] + hopping[0] * p[1]);
    for (long i = 1; i < n - 1; i++)
        y[i] = -(hopping[i - 1] * p[i - 1] + diagonal[i] * p[i] + hopping[i] * p[i + 1]);
    y[n - 1] = -(hopping[n - 2] * p[n - 2] + diagonal[n - 1] * p[n - 1]);
}

static double dot(const double *x, const double *y, long n) {
    double sum = 0;
    for (long i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* One site; returns the number of iterations, or -1 if the limit was reached. */
static long element(const double *diagonal, const double *hopping, long n, long site,
                    const number *z, long num_z, double freeze, long limit, number *xi,
                    double *r, double *p, double *ap, number *rho, number *rho_last,
                    number *pi) {
    for (long i = 0; i < n; i++) r[i] = p[i] = 0;                      /* line 2 */
    r[site] = p[site] = 1;
    double alpha_last = 1, beta_last = 0, rr = 1, sigma = 1;           /* lines 2, 3 */
    for (long j = 0; j < num_z; j++) {                                 /* line 4 */
        xi[j] = 0;
        pi[j] = sigma;
        rho[j] = rho_last[j] = 1;
    }
    for (long k = 0; k < limit; k++) {                                 /* line 5 */
        apply(diagonal, hopping, p, ap, n);
        double alpha = rr / dot(p, ap, n);                             /* line 6 */
        for (long i = 0; i < n; i++) r[i] -= alpha * ap[i];            /* line 8 */
        double rr_next = dot(r, r, n), beta = rr_next / rr;            /* line 9 */
        for (long i = 0; i < n; i++) p[i] = r[i] + beta * p[i];        /* line 10 */
        sigma = r[site];                                               /* line 11 */
        long running = 0;
        for (long j = 0; j < num_z; j++) {                             /* line 12 */
            double size = creal(rho[j]) * creal(rho[j]) + cimag(rho[j]) * cimag(rho[j]);
            if (size < freeze * freeze) continue;
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

/* All sites: value[site][j]; returns the iterations of all, or -1. */
long diagonal_elements(const double *diagonal, const double *hopping, long n,
                       const number *z, long num_z, double freeze, long limit,
                       number *value) {
    double *vectors = malloc(3 * n * sizeof(double));
    number *numbers = malloc(3 * num_z * sizeof(number));
    long total = 0;
    for (long site = 0; site < n && total >= 0; site++) {
        long count = element(diagonal, hopping, n, site, z, num_z, freeze, limit,
                             value + site * num_z, vectors, vectors + n, vectors + 2 * n,
                             numbers, numbers + num_z, numbers + 2 * num_z);
        total = count < 0 ? -1 : total + count;
    }
    free(vectors);
    free(numbers);
    return total;
}
