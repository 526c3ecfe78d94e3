package wire

import "github.com/godwit-ota/godwit"

func newSSH(c *Client) (transport, error) {
	return nil, godwit.Fail(godwit.CodeConfig, nil, "this build has no SSH", "use an https:// URL")
}
