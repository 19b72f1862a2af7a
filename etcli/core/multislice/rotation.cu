// Rotation of a volume about the tilt axis on a GPU: the product of a sparse matrix with rows along the axis.
//
// One thread per number of the target, which is (n_rows, n); n_z is 1. The order of the sums is the same in every run.

extern "C" __global__ void add_product(int n_z, int n_rows, int n, float *__restrict__ target,
                                       const int *__restrict__ starts, const int *__restrict__ columns,
                                       const float *__restrict__ weights, const float *__restrict__ source,
                                       float scale) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)n_z * n_rows * n) return;
    int row = i / n, j = i % n;
    float sum = 0.0f;
    for (int k = starts[row]; k < starts[row + 1]; ++k) sum += weights[k] * source[(long long)columns[k] * n + j];
    target[i] += scale * sum;
}
