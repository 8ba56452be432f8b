"""Long names of tensors, as messages show them."""

from edgekit import tensor_names


def test_of_names_that_were_joined_the_first_is_shown():
    assert tensor_names.short("model/relu/Relu;model/bn/add_1;model/conv/sub1") == "model/relu/Relu"


def test_a_long_name_keeps_its_end_where_the_layer_stands():
    shown = tensor_names.short("model/" * 30 + "dense_7/BiasAdd")
    assert len(shown) == tensor_names.SHOWN_LETTERS
    assert shown.startswith("…")
    assert shown.endswith("dense_7/BiasAdd")
