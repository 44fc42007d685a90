package ceilings

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const uuid = "GPU-12345678-9abc-def0-1234-56789abcdef0"

func saved() Set {
	return Set{UUID: uuid, GPU: "NVIDIA H100 80GB HBM3", Driver: "580.159", Taken: time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC),
		Rates: map[Kind]float64{Copy: 3.0e12, BFloat16: 7e14}}
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	s := Store{Folder: filepath.Join(t.TempDir(), "warpscope", "ceilings")}
	if _, err := s.Load(uuid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before anything was saved: %v", err)
	}
	want := saved()
	for range 2 { // the second one replaces the first
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Load(uuid)
	want.Version, want.Source = 1, Measured
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %+v, %v; saved %+v", got, err, want)
	}
	files, err := os.ReadDir(s.Folder)
	if err != nil || len(files) != 1 {
		t.Errorf("%d files, %v", len(files), err)
	}
	info, err := os.Stat(filepath.Join(s.Folder, uuid+".json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestOfPrefersWhatWasMeasured(t *testing.T) {
	s := Store{Folder: t.TempDir()}
	known, err := s.Of(uuid, "NVIDIA H200")
	if rate, ok := known.Rate(Read); err != nil || !ok || rate != (Rate{4.8e12, Datasheet}) {
		t.Errorf("%+v, %v", known, err)
	}
	if err := s.Save(saved()); err != nil {
		t.Fatal(err)
	}
	known, err = s.Of(uuid, "NVIDIA H200")
	if rate, _ := known.Rate(Copy); err != nil || rate != (Rate{3e12, Measured}) {
		t.Errorf("%+v, %v", known, err)
	}
	// What was not measured is still the datasheet's, and says so.
	if rate, _ := known.Rate(Float8); rate != (Rate{1978.9e12, Datasheet}) {
		t.Errorf("%+v", rate)
	}
	if rate, ok := known.Rate(L2); ok {
		t.Errorf("%+v of what nobody knows", rate)
	}
	if known, err := s.Of(uuid, "Voodoo 2"); err != nil || known.Measured.Rates[Copy] != 3e12 || len(known.Datasheet.Rates) != 0 {
		t.Errorf("measured, without a datasheet: %+v, %v", known, err)
	}
	for _, other := range []string{"GPU-00000000-0000", ""} {
		if _, err := s.Of(other, "Voodoo 2"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "Voodoo 2") {
			t.Errorf("an unknown product: %v", err)
		}
	}
}

func TestSaveKeepsWhatWasNotMeasuredAgain(t *testing.T) {
	s := Store{Folder: t.TempDir()}
	first, second := saved(), saved()
	second.Rates = map[Kind]float64{Copy: 2.9e12, Read: 3.1e12}
	for _, set := range []Set{first, second} {
		if err := s.Save(set); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Load(uuid)
	if want := map[Kind]float64{Copy: 2.9e12, Read: 3.1e12, BFloat16: 7e14}; err != nil || !reflect.DeepEqual(got.Rates, want) {
		t.Errorf("%v, %v", got.Rates, err)
	}
	second.Driver = "590.1"
	if err := s.Save(second); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(uuid); err != nil || len(got.Rates) != 2 {
		t.Errorf("rates of another driver are kept: %v, %v", got.Rates, err)
	}
}

func TestDatasheetsSayNothingOfWhatAGPUCannotDo(t *testing.T) {
	for product := range sheets() {
		set, err := OfDatasheet(product)
		if err != nil || set.check() != nil {
			t.Errorf("%s: %v %v", product, err, set.check())
		}
	}
	if set, _ := OfDatasheet("NVIDIA A100-SXM4-80GB"); set.Rates[Float8] != 0 || set.Rates[BFloat16] != 312e12 {
		t.Errorf("%+v", set)
	}
}

func TestBadInputIsRefused(t *testing.T) {
	s := Store{Folder: t.TempDir()}
	for name, bad := range map[string]func(*Set){
		"a path for a UUID": func(v *Set) { v.UUID = "../../etc/passwd" },
		"no UUID":           func(v *Set) { v.UUID = "" },
		"no rates":          func(v *Set) { v.Rates = nil },
		"a rate of zero":    func(v *Set) { v.Rates = map[Kind]float64{Copy: 0} },
		"a rate of NaN":     func(v *Set) { v.Rates = map[Kind]float64{Copy: math.NaN()} },
		"an infinite rate":  func(v *Set) { v.Rates = map[Kind]float64{Copy: math.Inf(1)} },
	} {
		set := saved()
		bad(&set)
		if err := s.Save(set); err == nil {
			t.Errorf("%s was saved", name)
		}
	}
	if files, _ := os.ReadDir(s.Folder); len(files) != 0 {
		t.Errorf("%d files were left", len(files))
	}
	for name, text := range map[string]string{
		"no JSON":         "rates",
		"another version": `{"schema_version":2,"uuid":"` + uuid + `","rates":{"memory.copy":1}}`,
		"another GPU":     `{"schema_version":1,"uuid":"GPU-87654321-0000","rates":{"memory.copy":1}}`,
		"a negative rate": `{"schema_version":1,"uuid":"` + uuid + `","rates":{"memory.copy":-1}}`,
		"too much":        `{"schema_version":1,"gpu":"` + strings.Repeat("x", largest) + `"}`,
		"nothing":         "",
	} {
		if err := os.WriteFile(filepath.Join(s.Folder, uuid+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if known, err := s.Of(uuid, "NVIDIA H200"); err == nil {
			t.Errorf("%s was loaded: %+v", name, known)
		}
	}
	if err := s.Save(saved()); err != nil {
		t.Errorf("a damaged file is in the way: %v", err)
	}
}
