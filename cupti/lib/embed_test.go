package lib

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

func TestLibraryIsTheBuiltFileOrSaysThatThereIsNone(t *testing.T) {
	image, err := Library()
	built, fileErr := os.ReadFile("libwarpscope.so")
	if errors.Is(fileErr, os.ErrNotExist) {
		if !errors.Is(err, ErrNotBuilt) {
			t.Fatalf("no library was built, yet Library returned %d bytes, %v", len(image), err)
		}
		return
	}
	if err != nil || fileErr != nil {
		t.Fatal(err, fileErr)
	}
	if !bytes.Equal(image, built) || !bytes.HasPrefix(image, []byte("\x7fELF")) {
		t.Errorf("Library returned %d bytes that are not the built library", len(image))
	}
}
