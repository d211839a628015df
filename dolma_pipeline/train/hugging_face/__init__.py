"""Models out and in, in the files of Hugging Face: `export` writes them, `read_hf` reads them. Loads torch late.

A folder holds `config.json`, weights as safetensors, and the tokenizer. What transformers has a class for is written
so that its class gives our logits: OLMo's shapes as OlmoForCausalLM, LLaMA's as LlamaForCausalLM.
"""
