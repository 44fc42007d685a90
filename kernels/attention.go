package kernels

// Attention is the family of attention kernels; see attention.cu and attention_sm90.cuh.
func Attention() Family { return Family{"attention"} }
