package http1

import (
	"strconv"
	"time"
)

// Methods (RFC 9110, 9.3).
const (
	MethodGet     = "GET"
	MethodHead    = "HEAD"
	MethodPost    = "POST"
	MethodConnect = "CONNECT"
)

// Status codes (RFC 9110, 15; RFC 6585; RFC 4918).
const (
	StatusOK                            = 200
	StatusNoContent                     = 204
	StatusPartialContent                = 206
	StatusMovedPermanently              = 301
	StatusFound                         = 302
	StatusSeeOther                      = 303
	StatusNotModified                   = 304
	StatusTemporaryRedirect             = 307
	StatusPermanentRedirect             = 308
	StatusBadRequest                    = 400
	StatusUnauthorized                  = 401
	StatusForbidden                     = 403
	StatusNotFound                      = 404
	StatusProxyAuthRequired             = 407
	StatusRequestTimeout                = 408
	StatusGone                          = 410
	StatusLengthRequired                = 411
	StatusRequestedRangeNotSatisfiable  = 416
	StatusTooManyRequests               = 429
	StatusInternalServerError           = 500
	StatusServiceUnavailable            = 503
	StatusInsufficientStorage           = 507
	StatusNetworkAuthenticationRequired = 511
)

// StatusText gives the usual words for the codes above, "" for others.
func StatusText(code int) string {
	switch code {
	case StatusOK:
		return "OK"
	case StatusNoContent:
		return "No Content"
	case StatusPartialContent:
		return "Partial Content"
	case StatusMovedPermanently:
		return "Moved Permanently"
	case StatusFound:
		return "Found"
	case StatusSeeOther:
		return "See Other"
	case StatusNotModified:
		return "Not Modified"
	case StatusTemporaryRedirect:
		return "Temporary Redirect"
	case StatusPermanentRedirect:
		return "Permanent Redirect"
	case StatusBadRequest:
		return "Bad Request"
	case StatusUnauthorized:
		return "Unauthorized"
	case StatusForbidden:
		return "Forbidden"
	case StatusNotFound:
		return "Not Found"
	case StatusProxyAuthRequired:
		return "Proxy Authentication Required"
	case StatusRequestTimeout:
		return "Request Timeout"
	case StatusGone:
		return "Gone"
	case StatusLengthRequired:
		return "Length Required"
	case StatusRequestedRangeNotSatisfiable:
		return "Requested Range Not Satisfiable"
	case StatusTooManyRequests:
		return "Too Many Requests"
	case StatusInternalServerError:
		return "Internal Server Error"
	case StatusServiceUnavailable:
		return "Service Unavailable"
	case StatusInsufficientStorage:
		return "Insufficient Storage"
	case StatusNetworkAuthenticationRequired:
		return "Network Authentication Required"
	}
	return ""
}

func statusLine(code int) string {
	s := "HTTP " + strconv.Itoa(code)
	if text := StatusText(code); text != "" {
		s += " " + text
	}
	return s
}

// TimeFormat is how dates are written; the time must be in UTC (RFC 9110, 5.6.7).
const TimeFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// ParseTime reads a date in the form of today and in the two of the past.
func ParseTime(s string) (t time.Time, err error) {
	for _, form := range []string{TimeFormat, time.RFC850, time.ANSIC} {
		if t, err = time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return t, err
}
