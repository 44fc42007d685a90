package kernels

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/warpscope/warpscope/cuda"
)

//go:embed images
var images embed.FS

// ErrNoImage is what errors.Is finds when no image of a family runs on a GPU.
var ErrNoImage = errors.New("no kernel image for this GPU")

// Family is the kernels of one .cu file.
type Family struct{ name string }

// Manifest says how the images of a family were made.
type Manifest struct {
	Sources  []Source `json:"sources"` // the family's file and what it includes
	Compiler string   `json:"compiler"`
	Flags    []string `json:"flags"`
	Images   []Image  `json:"images"`
}

// Source is a file that the images were made of.
type Source struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

// Image is one compiled form of a family.
type Image struct {
	File    string   `json:"file"`
	Target  string   `json:"target"` // "sm_80" or "sm_90a" for machine code, "compute_80" for PTX
	Kind    string   `json:"kind"`   // "cubin" or "ptx"
	SHA256  string   `json:"sha256"`
	Kernels []Kernel `json:"kernels"` // of machine code
}

// Kernel is what the assembler said of a kernel.
type Kernel struct {
	Name      string `json:"name"`
	Registers int    `json:"registers"` // a thread
	Shared    int    `json:"shared"`    // bytes a block, dynamic shared memory not counted
	Spills    int    `json:"spills"`    // bytes a thread; the build allows none
}

// Manifest returns how the images were made.
func (f Family) Manifest() (Manifest, error) {
	var m Manifest
	text, err := images.ReadFile("images/" + f.name + ".json")
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("read manifest of the %s kernels: %w", f.name, err)
	}
	return m, nil
}

// Select returns the image for a GPU of this compute capability: machine code of the same major
// version and no newer minor one, else PTX, which the driver compiles. Machine code for sm_90a runs on 9.0 alone.
func (f Family) Select(major, minor int) (Image, []byte, error) {
	m, err := f.Manifest()
	if err != nil {
		return Image{}, nil, err
	}
	capability := 10*major + minor
	best, bestRank := Image{}, 0
	for _, i := range m.Images {
		target, exact, err := i.capability()
		if err != nil {
			return Image{}, nil, err
		}
		rank := 0
		switch {
		case exact && target != capability:
		case target > capability:
		case i.Kind == "cubin" && target/10 == major:
			rank = 1000 + target // machine code before PTX, the nearest first
		case i.Kind == "ptx":
			rank = target
		}
		if rank > bestRank {
			best, bestRank = i, rank
		}
	}
	if bestRank == 0 {
		return Image{}, nil, fmt.Errorf("%w: the %s kernels are compiled for compute capability 8.0 and newer, this GPU has %d.%d",
			ErrNoImage, f.name, major, minor)
	}
	image, err := images.ReadFile("images/" + best.File)
	return best, image, err
}

// capability is the compute capability of the target, times ten, and whether no other one will do.
func (i Image) capability() (n int, exact bool, err error) {
	_, digits, _ := strings.Cut(i.Target, "_")
	digits, exact = strings.CutSuffix(digits, "a")
	n, err = strconv.Atoi(digits)
	if err != nil {
		return 0, false, fmt.Errorf("read target %q of a kernel image: %w", i.Target, err)
	}
	return n, exact, nil
}

// Load loads the family into the current context, which must be of this device.
func (f Family) Load(d *cuda.Driver, device cuda.Device) (*cuda.Module, error) {
	major, minor, err := device.ComputeCapability()
	if err != nil {
		return nil, err
	}
	i, image, err := f.Select(major, minor)
	if err != nil {
		return nil, err
	}
	m, err := d.LoadModule(image)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", i.File, err)
	}
	return m, nil
}
