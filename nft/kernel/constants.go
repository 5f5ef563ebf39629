package kernel

// Constants of include/uapi/linux/netfilter/nf_tables.h that golang.org/x/sys
// does not have.
const (
	tableOwner   = 0x2 // NFT_TABLE_F_OWNER (kernel 5.12)
	tablePersist = 0x4 // NFT_TABLE_F_PERSIST (kernel 6.9)

	setConcat = 0x80 // NFT_SET_CONCAT (kernel 5.6)

	attrSetDescConcat   = 2          // NFTA_SET_DESC_CONCAT
	attrSetFieldLen     = 1          // NFTA_SET_FIELD_LEN
	attrSetExpr         = 17         // NFTA_SET_EXPR (kernel 5.8)
	attrSetExpressions  = 18         // NFTA_SET_EXPRESSIONS
	attrElemKeyEnd      = 10         // NFTA_SET_ELEM_KEY_END (kernel 5.6)
	attrElemExpressions = 11         // NFTA_SET_ELEM_EXPRESSIONS
	elemCatchall        = 0x2        // NFT_SET_ELEM_CATCHALL
	policyAccept        = 1          // NF_ACCEPT
	dataTypeVerdict     = 0xffffff00 // NFT_DATA_VERDICT
)

// What nft keeps in user data (libnftnl, include/libnftnl/udata.h): one byte of
// type, one of length, the value.
const (
	userdataSetKeyByteOrder  = 0 // NFTNL_UDATA_SET_KEYBYTEORDER
	userdataSetDataByteOrder = 1 // NFTNL_UDATA_SET_DATABYTEORDER
	userdataElementComment   = 0 // NFTNL_UDATA_SET_ELEM_COMMENT
	userdataElementFlags     = 1 // NFTNL_UDATA_SET_ELEM_FLAGS

	elementOpenInterval = 1 // SET_ELEM_F_INTERVAL_OPEN: reaches the last value there is
)
