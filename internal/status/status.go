// Package status is what people and programs see of a device: one screen, JSON,
// metrics, a page. It gathers what the record, the notes, the history, the board and a
// running agent know, and words it. It changes nothing and asks no network.
package status
