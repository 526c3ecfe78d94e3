package jsontext

import (
	"io"
	"strconv"
)

// maxScanPath bounds what Scan holds of names.
const maxScanPath = 1 << 10

// Scan reads a document and calls see for each text, number, truth value and
// null in it, with the names that lead there, joined by dots. Elements of an
// array have the name of the array; after each that is an object see gets that
// name with a slash, and no text. Both are valid during the call. If see returns
// an error Scan ends with it. Otherwise errors are those of a Reader.
func Scan(src io.Reader, l Limits, see func(path, text []byte) error) error {
	type level struct {
		at    int // length of path
		array bool
	}
	var (
		stack []level
		path  []byte
	)
	r := NewReader(src, l)
	for {
		k, err := r.Next()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return err
		}
		n := len(stack) - 1
		switch k {
		case Name:
			if path = path[:stack[n].at]; len(path) > 0 {
				path = append(path, '.')
			}
			if path = append(path, r.Text()...); len(path) > maxScanPath {
				return r.tooLong("names are longer than " + strconv.Itoa(maxScanPath) + " bytes")
			}
		case Array, Object:
			stack = append(stack, level{len(path), k == Array})
		case End:
			top := stack[n]
			path, stack = path[:top.at], stack[:n]
			if n > 0 && stack[n-1].array && !top.array {
				err = see(append(path, '/'), nil)
			}
		default:
			err = see(path, r.Text())
		}
		if err != nil {
			return err
		}
	}
}
