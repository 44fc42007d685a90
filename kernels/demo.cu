// demo.cu: the kernels of `warpscope demo`, a training-like loop of one small perceptron.
//
// They are written to be read, not to be fast: one thread an element, no shared-memory tiling. What
// they compute is checked on a real GPU by gpu_test.go; no figure is ever derived from them.
// Every kernel is extern "C", so that its name is the one the launch descriptions use.

// out[i] = a * x[i] + out[i]
extern "C" __global__ void demo_saxpy(int n, float a, const float *x, float *out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = a * x[i] + out[i];
}

// c[m][n] = a[m][k] * b[k][n], or b[n][k] when transposed. Row-major, one thread an element of c.
extern "C" __global__ void demo_matmul(int m, int n, int k, int transposed, const float *a,
                                       const float *b, float *c) {
  int col = blockIdx.x * blockDim.x + threadIdx.x;
  int row = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= m || col >= n) return;
  float sum = 0.0f;
  for (int i = 0; i < k; i++) sum += a[row * k + i] * (transposed ? b[col * k + i] : b[i * n + col]);
  c[row * n + col] = sum;
}

// g[m][n] = transpose(a[k][m]) * b[k][n]: the gradient of a weight matrix.
extern "C" __global__ void demo_matmul_grad(int m, int n, int k, const float *a, const float *b,
                                            float *g) {
  int col = blockIdx.x * blockDim.x + threadIdx.x;
  int row = blockIdx.y * blockDim.y + threadIdx.y;
  if (row >= m || col >= n) return;
  float sum = 0.0f;
  for (int i = 0; i < k; i++) sum += a[i * m + row] * b[i * n + col];
  g[row * n + col] = sum;
}

// One block a row: y = (x - mean) / sqrt(variance + 1e-5). blockDim.x is a power of two.
extern "C" __global__ void demo_layernorm(int columns, const float *x, float *y) {
  __shared__ float sums[256];
  __shared__ float squares[256];
  const float *row = x + (size_t)blockIdx.x * columns;
  float sum = 0.0f, square = 0.0f;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) {
    sum += row[i];
    square += row[i] * row[i];
  }
  sums[threadIdx.x] = sum;
  squares[threadIdx.x] = square;
  __syncthreads();
  for (int width = blockDim.x / 2; width > 0; width /= 2) {
    if (threadIdx.x < width) {
      sums[threadIdx.x] += sums[threadIdx.x + width];
      squares[threadIdx.x] += squares[threadIdx.x + width];
    }
    __syncthreads();
  }
  float mean = sums[0] / columns;
  float scale = rsqrtf(squares[0] / columns - mean * mean + 1e-5f);
  for (int i = threadIdx.x; i < columns; i += blockDim.x)
    y[(size_t)blockIdx.x * columns + i] = (row[i] - mean) * scale;
}

// gradient = 2 (y - target) / n, and the mean squared error added into *loss.
extern "C" __global__ void demo_loss(int n, const float *y, const float *target, float *gradient,
                                     float *loss) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float d = y[i] - target[i];
  gradient[i] = 2.0f * d / n;
  atomicAdd(loss, d * d / n);
}

// AdamW with betas 0.9 and 0.999, weight decay 0.01.
extern "C" __global__ void demo_adamw(int n, float rate, int step, const float *gradient, float *first,
                                      float *second, float *weight) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float g = gradient[i];
  float m = first[i] = 0.9f * first[i] + 0.1f * g;
  float v = second[i] = 0.999f * second[i] + 0.001f * g * g;
  float corrected_m = m / (1.0f - powf(0.9f, (float)step));
  float corrected_v = v / (1.0f - powf(0.999f, (float)step));
  weight[i] -= rate * (corrected_m / (sqrtf(corrected_v) + 1e-8f) + 0.01f * weight[i]);
}
