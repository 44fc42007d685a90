package symbols

import "testing"

func TestLibrary(t *testing.T) {
	for file, want := range map[string]string{
		"": "",
		"/usr/lib/python3/dist-packages/torch/lib/libtorch_cuda.so": "libtorch_cuda",
		"/usr/lib/x86_64-linux-gnu/libnccl.so.2.21.5":               "libnccl",
		"/usr/local/cuda/lib64/libcublas.so.12":                     "libcublas",
		"libcublasLt.so.12.8.4.1":                                   "libcublasLt",
		"/x/torch/lib/libcudart-d0da41ae.so.11.0":                   "libcudart",
		"/x/numpy.libs/libgomp-a34b3233.so.1.0.0":                   "libgomp",
		"/x/libopenblas64_p-r0-0cf96a72.3.23.dev.so":                "libopenblas64_p-r0",
		"/x/_C.cpython-311-x86_64-linux-gnu.so":                     "_C",
		"/x/_rust.abi3.so":                                          "_rust",
		"/lib/x86_64-linux-gnu/libcuda.so.580.159.04":               "libcuda",
		"/lib/x86_64-linux-gnu/libc-2.31.so":                        "libc",
		"/lib/x86_64-linux-gnu/libc.so.6":                           "libc",
		"/lib64/ld-linux-x86-64.so.2":                               "ld-linux-x86-64",
		"/lib/libstdc++.so.6.0.30 (deleted)":                        "libstdc++",
		"linux-vdso.so.1":                                           "linux-vdso",
		"/usr/bin/python3.11":                                       "python3.11",
		"/home/me/train":                                            "train",
		"/home/me/a.sock":                                           "a.sock",
		"/home/me/x.so.d/tool":                                      "tool",
		"/home/me/.so":                                              ".so",
		"/x/libcudnn_engines_precompiled.so.9":                      "libcudnn_engines_precompiled",
		"/x/libc10_cuda.so":                                         "libc10_cuda",
		"/":                                                         "/",
	} {
		if got := Library(file); got != want {
			t.Errorf("Library(%q) = %q, want %q", file, got, want)
		}
	}
}
